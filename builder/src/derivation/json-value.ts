import { byBytes } from '@larder/signing/derivation';
import { LarderError } from '@larder/signing/errors';

/** A number with the kind Nix's JSON library gives it: what fits 64 bits is whole, all else a double. */
export type JsonNumber = bigint | number;
export type JsonValue = null | boolean | string | JsonNumber | readonly JsonValue[] | JsonObject;
export type JsonObject = ReadonlyMap<string, JsonValue>;

const smallestInteger = -(2n ** 63n);
const largestInteger = 2n ** 64n - 1n;
const number = /-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?/y;
// A string without its quotes: any character but quotes, backslashes and control characters, or an escape.
// biome-ignore lint/suspicious/noControlCharactersInRegex: JSON forbids exactly these
const string = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const blank = /[ \t\n\r]*/y;

/**
 * Parses JSON without losing what JavaScript's own parser would: whole numbers beyond 53 bits, and which
 * numbers were written with a fraction. Of a name given twice the last value stays.
 * @throws `json-malformed` with the position
 */
export function parseJson(text: string): JsonValue {
  const parser = new JsonParser(text);
  const value = parser.value();
  parser.end();
  return value;
}

class JsonParser {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  end(): void {
    this.#match(blank);
    if (this.#at !== this.#text.length) throw this.#malformed('nothing may follow the value');
  }

  value(): JsonValue {
    this.#match(blank);
    switch (this.#text.charAt(this.#at)) {
      case '{':
        return this.#object();
      case '[':
        return this.#array();
      case '"':
        return this.#string();
    }
    for (const [word, value] of words) {
      if (!this.#text.startsWith(word, this.#at)) continue;
      this.#at += word.length;
      return value;
    }
    return this.#number();
  }

  #object(): JsonObject {
    const object = new Map<string, JsonValue>();
    this.#list('}', () => {
      this.#match(blank);
      const name = this.#string();
      this.#expect(':');
      object.set(name, this.value());
    });
    return object;
  }

  #array(): JsonValue[] {
    const array: JsonValue[] = [];
    this.#list(']', () => array.push(this.value()));
    return array;
  }

  #list(close: string, item: () => void): void {
    this.#at++;
    this.#match(blank);
    if (this.#text[this.#at] === close) {
      this.#at++;
      return;
    }
    for (;;) {
      item();
      this.#match(blank);
      if (this.#text[this.#at] === close) break;
      this.#expect(',');
    }
    this.#at++;
  }

  #string(): string {
    const found = this.#match(string);
    if (found === undefined) throw this.#malformed('a string should be here');
    return JSON.parse(found[0]) as string;
  }

  #number(): JsonNumber {
    const found = this.#match(number);
    if (found === undefined) throw this.#malformed('no value starts here');
    if (found[1] === undefined && found[2] === undefined) {
      const whole = BigInt(found[0]);
      if (whole >= smallestInteger && whole <= largestInteger) return whole;
    }
    const value = Number(found[0]);
    if (!Number.isFinite(value)) throw this.#malformed(`${found[0]} is too large a number`);
    return value;
  }

  #expect(character: string): void {
    this.#match(blank);
    if (this.#text[this.#at] !== character) throw this.#malformed(`'${character}' should be here`);
    this.#at++;
  }

  #match(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text);
    if (found === null) return undefined;
    this.#at = pattern.lastIndex;
    return found;
  }

  #malformed(why: string): LarderError {
    return new LarderError('json-malformed', `this is not JSON: ${why} (character ${this.#at + 1})`);
  }
}

const words = [
  ['null', null],
  ['true', true],
  ['false', false],
] as const;

/** Writes JSON as Nix's library does: no blanks, names sorted by their bytes, doubles always with a fraction or exponent. */
export function formatJson(value: JsonValue): string {
  if (value === null || typeof value === 'boolean') return String(value);
  if (typeof value === 'bigint') return value.toString();
  if (typeof value === 'number') return formatDouble(value);
  if (typeof value === 'string') return JSON.stringify(value);
  if (isJsonObject(value)) {
    const members = sortedMembers(value).map(([name, each]) => `${JSON.stringify(name)}:${formatJson(each)}`);
    return `{${members.join(',')}}`;
  }
  return `[${value.map(formatJson).join(',')}]`;
}

/** An object's members in the order Nix's library keeps them. */
export function sortedMembers(object: JsonObject): [string, JsonValue][] {
  return [...object].sort(([a], [b]) => byBytes(a, b));
}

export function isJsonObject(value: JsonValue | undefined): value is JsonObject {
  return value instanceof Map;
}

/** The shortest digits that give the same double, laid out as nlohmann's library lays them out. */
function formatDouble(value: number): string {
  if (value === 0) return Object.is(value, -0) ? '-0.0' : '0.0';
  const [mantissa = '', exponentText = '0'] = value.toExponential().split('e');
  const sign = mantissa.startsWith('-') ? '-' : '';
  const digits = mantissa.replace('-', '').replace('.', '');
  const point = Number(exponentText) + 1; // where the decimal point stands among the digits
  return sign + layOut(digits, point);
}

function layOut(digits: string, point: number): string {
  if (digits.length <= point && point <= 15) return `${digits.padEnd(point, '0')}.0`;
  if (point > 0 && point <= 15) return `${digits.slice(0, point)}.${digits.slice(point)}`;
  if (point > -4 && point <= 0) return `0.${'0'.repeat(-point)}${digits}`;
  const exponent = point - 1;
  const fraction = digits.length === 1 ? '' : `.${digits.slice(1)}`;
  const size = Math.abs(exponent).toString().padStart(2, '0');
  return `${digits[0]}${fraction}e${exponent < 0 ? '-' : '+'}${size}`;
}
