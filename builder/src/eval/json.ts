import { Attrs, AttrsBuilder } from './attrs.js';
import { toByteText } from './byte-text.js';
import { copyPathToStore, peelAttrs } from './coerce.js';
import type { ContextCollector } from './context.js';
import { NixError, traced } from './errors.js';
import { enterDepth, leaveDepth } from './force.js';
import { canonicalPath } from './parser.js';
import { noPos, type Pos } from './positions.js';
import { intern, symbolName } from './symbols.js';
import { describeType } from './types.js';
import {
  fitsInt64,
  force,
  isInt,
  Lambda,
  NixFloat,
  NixPath,
  NixString,
  normalizeInt,
  type Slot,
  Thunk,
  type Value,
} from './values.js';

const shortEscapes: Readonly<Record<string, string>> = {
  '"': '\\"',
  '\\': '\\\\',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
};

/** The offset of the first byte that is not UTF-8, or -1. */
function invalidUtf8(bytes: string): number {
  if (!/[\x80-\xff]/.test(bytes)) return -1;
  for (let i = 0; i < bytes.length; ) {
    const c = bytes.charCodeAt(i);
    const length =
      c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0;
    if (length === 0) return i;
    const sequence = bytes.slice(i, i + length);
    const decoded = Buffer.from(sequence, 'latin1').toString('utf8');
    if (sequence.length < length || Buffer.from(decoded, 'utf8').toString('latin1') !== sequence) {
      return Math.min(i + 1, bytes.length - 1);
    }
    i += length;
  }
  return -1;
}

/** A string (bytes) as a JSON string. */
export function quoteJson(bytes: string): string {
  const invalid = invalidUtf8(bytes);
  if (invalid >= 0) {
    const byte = bytes.charCodeAt(invalid).toString(16).toUpperCase().padStart(2, '0');
    throw new NixError(
      'other',
      `JSON serialization error: [json.exception.type_error.316] invalid UTF-8 byte at index ${invalid}: 0x${byte}`,
    );
  }
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what JSON must escape
  const escaped = bytes.replace(/["\\\u0000-\u001f]/g, (c) => {
    return shortEscapes[c] ?? `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
  return `"${escaped}"`;
}

/** A float as JSON, in the shortest form that reads back the same, with at least one decimal. */
export function formatJsonFloat(value: number): string {
  if (!Number.isFinite(value)) return 'null';
  if (value === 0) return Object.is(value, -0) ? '-0.0' : '0.0';
  const [mantissa, exponentText] = value.toExponential().split('e') as [string, string];
  const exponent = Number(exponentText);
  if (exponent < -5 || exponent >= 15) {
    const magnitude = Math.abs(exponent).toString().padStart(2, '0');
    return `${mantissa}e${exponent < 0 ? '-' : '+'}${magnitude}`;
  }
  const negative = mantissa.startsWith('-') ? '-' : '';
  const digits = mantissa.replace(/[-.]/g, '');
  if (exponent < 0) return `${negative}0.${'0'.repeat(-exponent - 1)}${digits}`;
  const whole = digits.slice(0, exponent + 1).padEnd(exponent + 1, '0');
  return `${negative}${whole}.${digits.slice(exponent + 1) || '0'}`;
}

/** How to print a value as JSON. */
export interface JsonOptions {
  /** Evaluate what is not evaluated. */
  readonly strict: boolean;
  /** Copy paths into the store and print where they are there. */
  readonly copyToStore: boolean;
}

class JsonPrinter {
  private readonly options: JsonOptions;
  private readonly collector: ContextCollector;

  constructor(options: JsonOptions, collector: ContextCollector) {
    this.options = options;
    this.collector = collector;
  }

  print(slot: Slot, pos: Pos, copyToStore: boolean): string {
    enterDepth(pos);
    const result = this.printAt(slot, pos, copyToStore);
    leaveDepth();
    return result;
  }

  private printAt(slot: Slot, pos: Pos, copyToStore: boolean): string {
    let value: Value;
    if (slot instanceof Thunk && !this.options.strict) {
      const ready = slot.peek();
      if (ready === undefined) throw new NixError('type', 'cannot convert a thunk to JSON', pos);
      value = ready;
    } else value = force(slot, pos);
    if (typeof value === 'string') return quoteJson(value);
    if (value instanceof NixString) {
      this.collector.addAll(value.context);
      return quoteJson(value.text);
    }
    if (isInt(value) || typeof value === 'boolean') return value.toString();
    if (value === null) return 'null';
    if (value instanceof NixFloat) return formatJsonFloat(value.value);
    if (value instanceof NixPath) {
      return quoteJson(copyToStore ? copyPathToStore(value.path, this.collector) : canonicalPath(value.path));
    }
    if (Array.isArray(value)) return this.printList(value, pos, copyToStore);
    if (value instanceof Attrs) {
      return peelAttrs(value, { pos, checkResult: true }, (peeled, through) =>
        peeled instanceof Attrs
          ? this.printAttrs(peeled, copyToStore)
          : this.print(peeled, pos, copyToStore && !through),
      );
    }
    const at = value instanceof Lambda ? value.code.expr.pos : pos;
    throw new NixError('type', `cannot convert ${describeType(value)} to JSON`, at);
  }

  private printAttrs(attrs: Attrs, copyToStore: boolean): string {
    const parts = attrs.shape.order().map((index) => {
      const name = symbolName(attrs.shape.ids[index]!);
      const pos = attrs.shape.position(index);
      try {
        return `${quoteJson(name)}:${this.print(attrs.values[index]!, pos, copyToStore)}`;
      } catch (error) {
        throw traced(error, pos, `while evaluating attribute '${name}'`);
      }
    });
    return `{${parts.join(',')}}`;
  }

  private printList(list: readonly Slot[], pos: Pos, copyToStore: boolean): string {
    const parts = list.map((item, index) => {
      try {
        return this.print(item, pos, copyToStore);
      } catch (error) {
        throw traced(error, pos, `while evaluating list element at index ${index}`);
      }
    });
    return `[${parts.join(',')}]`;
  }
}

/** A value as JSON on one line (bytes); the context of its strings goes to `collector`. */
export function valueToJson(
  slot: Slot,
  collector: ContextCollector,
  options: JsonOptions & { readonly pos?: Pos },
): string {
  return new JsonPrinter(options, collector).print(slot, options.pos ?? noPos, options.copyToStore);
}

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
