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

/** So many more digits show whether a number lies exactly between two that are printed: then zeros follow a five. */
const TIE_DIGITS = 40;

/** A number with so many digits after the point, rounded as C rounds: from the middle to the even digit, not upwards. */
function roundDigits(
  value: number,
  digits: number,
  print: (value: number, digits: number) => string,
): string {
  const rounded = print(value, digits);
  const [long = '', exponent] = print(value, Math.min(100, digits + TIE_DIGITS)).split('e');
  const end = long.indexOf('.') + 1 + digits;
  const [head, tail] = [long.slice(0, digits === 0 ? end - 1 : end), long.slice(end)];
  if (!/^50*$/.test(tail) || !/[02468]$/.test(head)) return rounded;
  return exponent === undefined ? head : `${head}e${exponent}`;
}

const printExponential = (value: number, digits: number): string => value.toExponential(digits);
const printFixed = (value: number, digits: number): string => value.toFixed(digits);

function printGeneral(value: number, digits: number): string {
  const exponential = roundDigits(value, digits - 1, printExponential);
  const [mantissa, exponentText] = exponential.split('e') as [string, string];
  const exponent = Number(exponentText);
  if (exponent < -4 || exponent >= digits) {
    const trimmed = mantissa.includes('.') ? mantissa.replace(/\.?0+$/, '') : mantissa;
    const magnitude = Math.abs(exponent).toString().padStart(2, '0');
    return `${trimmed}e${exponent < 0 ? '-' : '+'}${magnitude}`;
  }
  const fixed = roundDigits(value, Math.max(0, digits - 1 - exponent), printFixed);
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
  if (Math.abs(value) < 1e21) return Object.is(value, -0) ? '-0.000000' : roundDigits(value, 6, printFixed);
  return `${BigInt(value).toString()}.000000`;
}
