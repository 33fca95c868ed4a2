import { AttrsBuilder } from './attrs.js';
import { toByteText } from './byte-text.js';
import { NixError } from './errors.js';
import { intern } from './symbols.js';
import { fitsInt64, NixFloat, normalizeInt, type Slot, type Value } from './values.js';

/** A parser of JSON to Nix values, which tells integers from floats as `JSON.parse` does not. */
class JsonReader {
  private readonly text: string;
  private at = 0;

  constructor(text: string) {
    this.text = text;
  }

  read(): Value {
    const value = this.value();
    this.blank();
    if (this.at < this.text.length) {
      throw this.fail(
        this.at,
        `syntax error while parsing value - unexpected ${this.describe()}; expected end of input`,
      );
    }
    return value;
  }

  private fail(at: number, what: string, code = 101): NixError {
    const lines = this.text.slice(0, at + 1).split('\n');
    // The end counts as a character.
    const column = lines.at(-1)!.length + (at >= this.text.length ? 1 : 0);
    const place = `line ${lines.length}, column ${column}`;
    return new NixError('eval', `[json.exception.parse_error.${code}] parse error at ${place}: ${what}`);
  }

  private describe(): string {
    const c = this.text[this.at];
    if (c === undefined) return 'end of input';
    const names: Readonly<Record<string, string>> = {
      '{': "'{'",
      '}': "'}'",
      '[': "'['",
      ']': "']'",
      ':': "':'",
      ',': "','",
      '"': 'string literal',
    };
    if (names[c] !== undefined) return names[c];
    return /[-0-9]/.test(c) ? 'number literal' : 'literal';
  }

  private blank(): void {
    while (/[ \t\n\r]/.test(this.text[this.at] ?? '')) this.at++;
  }

  private invalid(last: string): NixError {
    return this.fail(this.at, `syntax error while parsing value - invalid literal; last read: '${last}'`);
  }

  private value(): Value {
    this.blank();
    const c = this.text[this.at];
    switch (c) {
      case '{':
        return this.object();
      case '[':
        return this.array();
      case '"':
        return this.string();
      case undefined:
        throw this.fail(
          this.at,
          `${this.at === 0 ? 'attempting to parse an empty input; check that your input string or stream contains the expected JSON' : "syntax error while parsing value - unexpected end of input; expected '[', '{', or a literal"}`,
        );
      default:
    }
    for (const [word, value] of [
      ['true', true],
      ['false', false],
      ['null', null],
    ] as const) {
      if (this.text.startsWith(word, this.at)) {
        this.at += word.length;
        return value;
      }
    }
    return this.number();
  }

  private number(): Value {
    const match = /^-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/.exec(
      this.text.slice(this.at, this.at + 400),
    );
    if (match === null) throw this.invalid(this.text[this.at]!);
    const [whole] = match;
    this.at += whole.length;
    if (match[1] !== undefined || match[2] !== undefined) {
      const value = Number(whole);
      if (!Number.isFinite(value)) {
        throw new NixError('eval', `[json.exception.out_of_range.406] number overflow parsing '${whole}'`);
      }
      return new NixFloat(value);
    }
    const exact = BigInt(whole);
    if (fitsInt64(exact)) return normalizeInt(exact);
    if (exact > 0n && exact <= 0xffffffffffffffffn) {
      throw new NixError('eval', `unsigned json number ${whole} outside of Nix integer range`);
    }
    return new NixFloat(Number(whole));
  }

  private string(): string {
    const start = this.at++;
    let out = '';
    for (;;) {
      const c = this.text[this.at];
      if (c === undefined) {
        throw this.fail(
          this.at,
          `syntax error while parsing value - invalid string: missing closing quote; last read: '${this.text.slice(start)}'`,
        );
      }
      this.at++;
      if (c === '"') break;
      if (c === '\\') out += this.escape();
      else if (c.charCodeAt(0) < 0x20) {
        const code = c.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0');
        this.at--;
        throw this.fail(
          this.at,
          `syntax error while parsing value - invalid string: control character U+${code} must be escaped to \\u${code}; last read: '${this.text.slice(start, this.at)}<U+${code}>'`,
        );
      } else out += c;
    }
    if (out.includes('\0')) {
      const shown = out.replaceAll('\0', toByteText('␀'));
      throw new NixError(
        'other',
        `input string '${shown}' cannot be represented as Nix string because it contains null bytes`,
      );
    }
    return out;
  }

  private escape(): string {
    const c = this.text[this.at++];
    const simple: Readonly<Record<string, string>> = {
      '"': '"',
      '\\': '\\',
      '/': '/',
      b: '\b',
      f: '\f',
      n: '\n',
      r: '\r',
      t: '\t',
    };
    if (c !== undefined && simple[c] !== undefined) return simple[c];
    const unit = /^u([0-9a-fA-F]{4})/.exec(this.text.slice(this.at - 1, this.at + 4));
    if (unit === null) throw this.invalid(`\\${c ?? ''}`);
    this.at += 4;
    let text = String.fromCharCode(Number.parseInt(unit[1]!, 16));
    const low = /^\\u([dD][c-fC-F][0-9a-fA-F]{2})/.exec(this.text.slice(this.at, this.at + 6));
    if (/[\ud800-\udbff]/.test(text) && low !== null) {
      text += String.fromCharCode(Number.parseInt(low[1]!, 16));
      this.at += 6;
    }
    return toByteText(text);
  }

  private array(): Value {
    this.at++;
    const items: Slot[] = [];
    this.blank();
    if (this.text[this.at] === ']') {
      this.at++;
      return items;
    }
    for (;;) {
      items.push(this.value());
      this.blank();
      const c = this.text[this.at];
      if (c === ',') this.at++;
      else if (c === ']') {
        this.at++;
        return items;
      } else
        throw this.fail(
          this.at,
          `syntax error while parsing array - unexpected ${this.describe()}; expected ']'`,
        );
    }
  }

  private object(): Value {
    this.at++;
    const members = new Map<number, Value>();
    this.blank();
    if (this.text[this.at] === '}') {
      this.at++;
      return new AttrsBuilder().finish();
    }
    for (;;) {
      this.blank();
      if (this.text[this.at] !== '"') {
        throw this.fail(
          this.at,
          `syntax error while parsing object key - unexpected ${this.describe()}; expected string literal`,
        );
      }
      const name = intern(this.string());
      this.blank();
      if (this.text[this.at] !== ':') {
        throw this.fail(
          this.at,
          `syntax error while parsing object separator - unexpected ${this.describe()}; expected ':'`,
        );
      }
      this.at++;
      members.set(name, this.value());
      this.blank();
      const c = this.text[this.at];
      if (c === ',') this.at++;
      else if (c === '}') break;
      else
        throw this.fail(
          this.at,
          `syntax error while parsing object - unexpected ${this.describe()}; expected '}'`,
        );
    }
    this.at++;
    const builder = new AttrsBuilder();
    for (const [name, value] of members) builder.add(name, value);
    return builder.finish();
  }
}

/** Reads JSON (bytes) as a value. Throws what is wrong with it. */
export function jsonToValue(text: string): Value {
  return new JsonReader(text).read();
}
