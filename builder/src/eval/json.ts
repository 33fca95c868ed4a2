import { Attrs } from './attrs.js';
import { copyPathToStore, peelAttrs } from './coerce.js';
import type { ContextCollector } from './context.js';
import { NixError, traced } from './errors.js';
import { enterDepth, leaveDepth } from './force.js';
import { canonicalPath } from './parser.js';
import { noPos, type Pos } from './positions.js';
import { symbolName } from './symbols.js';
import { describeType } from './types.js';
import {
  force,
  isInt,
  Lambda,
  NixFloat,
  NixPath,
  NixString,
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
function formatJsonFloat(value: number): string {
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
