import { formatJson, isJsonObject, type JsonObject, type JsonValue, sortedMembers } from './json-value.js';

/** A variable name that bash accepts. */
const variableName = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** The text of `.attrs.json`. */
export function formatAttributesJson(attributes: JsonObject): string {
  return formatJson(attributes);
}

/**
 * The text of `.attrs.sh`: a bash declaration for every attribute that bash can hold, that is strings, whole
 * numbers, booleans and null, and flat lists and sets of those.
 */
export function formatAttributesShell(attributes: JsonObject): string {
  return sortedMembers(attributes)
    .map(([name, value]) => (variableName.test(name) ? declare(name, value) : ''))
    .join('');
}

function declare(name: string, value: JsonValue): string {
  const simple = formatSimple(value);
  if (simple !== undefined) return `declare ${name}=${simple}\n`;
  if (isJsonObject(value)) {
    const items = sortedMembers(value).map(([key, each]) => prefix(`[${quote(key)}]=`, formatSimple(each)));
    return items.includes(undefined) ? '' : `declare -A ${name}=(${items.join('')})\n`;
  }
  if (!Array.isArray(value)) return '';
  const items = (value as readonly JsonValue[]).map((each) => prefix('', formatSimple(each)));
  return items.includes(undefined) ? '' : `declare -a ${name}=(${items.join('')})\n`;
}

function prefix(before: string, simple: string | undefined): string | undefined {
  return simple === undefined ? undefined : `${before}${simple} `;
}

function formatSimple(value: JsonValue): string | undefined {
  if (typeof value === 'string') return quote(value);
  if (typeof value === 'bigint') return BigInt.asIntN(32, value).toString();
  if (typeof value === 'number') return formatWhole(value);
  if (value === null) return "''";
  if (typeof value === 'boolean') return value ? '1' : '';
  return undefined;
}

/** Whole doubles are written as C's `int`, as Nix casts them; what does not fit gives the smallest one. */
function formatWhole(value: number): string | undefined {
  const single = Math.fround(value);
  if (Math.ceil(single) !== single) return undefined;
  const whole = Math.trunc(value);
  return String(Math.abs(whole) < 2 ** 31 ? whole : -(2 ** 31));
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
