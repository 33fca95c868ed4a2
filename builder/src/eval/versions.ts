/** The version of Nix whose language this is; what `builtins.nixVersion` says. */
export const languageVersion = '2.35.0';

/** The components of a version: runs of digits, and runs of anything else between dots and dashes. */
export function splitVersion(version: string): string[] {
  return version.match(/[0-9]+|[^0-9.-]+/g) ?? [];
}

/** Digits that a C++ `int` holds: Nix takes more of them for letters. */
function isNumber(component: string): boolean {
  return /^[0-9]+$/.test(component) && Number(component) <= 0x7fff_ffff;
}

function precedes(a: string, b: string): boolean {
  const numberA = isNumber(a);
  const numberB = isNumber(b);
  if (numberA && numberB) return Number(a) < Number(b);
  if (a === '' && numberB) return true;
  if (a === 'pre' && b !== 'pre') return true;
  if (b === 'pre') return false;
  if (numberB) return true;
  if (numberA) return false;
  return a < b;
}

/** -1, 0 or 1 as the first version is older than, the same as or newer than the second. */
export function compareVersions(first: string, second: string): -1 | 0 | 1 {
  const a = splitVersion(first);
  const b = splitVersion(second);
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const left = a[i] ?? '';
    const right = b[i] ?? '';
    if (precedes(left, right)) return -1;
    if (precedes(right, left)) return 1;
  }
  return 0;
}

/** A package name and its version: the version starts after the first dash that no letter follows. */
export function parseDrvName(text: string): { name: string; version: string } {
  for (let i = 0; i < text.length - 1; i++) {
    if (text[i] === '-' && !/[a-zA-Z]/.test(text[i + 1]!)) {
      return { name: text.slice(0, i), version: text.slice(i + 1) };
    }
  }
  return { name: text, version: '' };
}
