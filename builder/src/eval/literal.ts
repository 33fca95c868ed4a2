const reservedWords = new Set(['if', 'then', 'else', 'assert', 'with', 'let', 'in', 'rec', 'inherit']);
const plainIdentifier = /^[a-zA-Z_][a-zA-Z0-9_'-]*$/;

/** A string (bytes) as a Nix string literal, quotes included. */
export function printStringLiteral(text: string): string {
  if (!/["\\\n\r\t$]/.test(text)) return `"${text}"`;
  const escaped = text.replace(/["\\\n\r\t]|\$(?=\{)/g, (c) => {
    if (c === '\n') return '\\n';
    if (c === '\r') return '\\r';
    if (c === '\t') return '\\t';
    return `\\${c}`;
  });
  return `"${escaped}"`;
}

/** A symbol, quoted if it could not be written plainly as an identifier. */
export function printIdentifier(name: string): string {
  if (name === '') return '""';
  if (reservedWords.has(name)) return `"${name}"`;
  return plainIdentifier.test(name) ? name : printStringLiteral(name);
}

/** An attribute name as value printing writes it. */
export function printAttributeName(name: string): string {
  if (name === '' || reservedWords.has(name) || !plainIdentifier.test(name)) return printStringLiteral(name);
  return name;
}

function printGeneral(value: number, digits: number): string {
  const [mantissa, exponentText] = value.toExponential(digits - 1).split('e') as [string, string];
  const exponent = Number(exponentText);
  if (exponent < -4 || exponent >= digits) {
    const trimmed = mantissa.includes('.') ? mantissa.replace(/\.?0+$/, '') : mantissa;
    const magnitude = Math.abs(exponent).toString().padStart(2, '0');
    return `${trimmed}e${exponent < 0 ? '-' : '+'}${magnitude}`;
  }
  const fixed = value.toFixed(Math.max(0, digits - 1 - exponent));
  return fixed.includes('.') ? fixed.replace(/\.?0+$/, '') : fixed;
}

function printSpecial(value: number): string | undefined {
  if (Number.isNaN(value)) return 'nan';
  if (value === Number.POSITIVE_INFINITY) return 'inf';
  if (value === Number.NEGATIVE_INFINITY) return '-inf';
  return undefined;
}

/** A float as C++ streams print it by default (`%g`, six significant digits). */
export function formatFloat(value: number): string {
  const special = printSpecial(value);
  if (special !== undefined) return special;
  if (value === 0) return Object.is(value, -0) ? '-0' : '0';
  return printGeneral(value, 6);
}

/** A float as `std::to_string` prints it (`%f`, six decimals), which is what string coercion uses. */
export function formatFloatFixed(value: number): string {
  const special = printSpecial(value);
  if (special !== undefined) return special;
  if (Math.abs(value) < 1e21) return Object.is(value, -0) ? '-0.000000' : value.toFixed(6);
  return `${BigInt(value).toString()}.000000`;
}
