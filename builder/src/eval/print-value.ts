import { Attrs } from './attrs.js';
import { GUILLEMET_CLOSE, GUILLEMET_OPEN } from './byte-text.js';
import { NixError } from './errors.js';
import { formatFloat, printAttributeName, printIdentifier, printStringLiteral } from './literal.js';
import { machine } from './machine.js';
import { formatPosition, noPos } from './positions.js';
import { sym, symbolName } from './symbols.js';
import {
  force,
  isInt,
  isString,
  Lambda,
  NixFloat,
  NixPath,
  PrimOp,
  type PrimOpApp,
  type Slot,
  stringText,
  Thunk,
  type Value,
} from './values.js';

const mark = (text: string): string => `${GUILLEMET_OPEN}${text}${GUILLEMET_CLOSE}`;

/** How to print a value for a person. */
export interface PrintOptions {
  /** Evaluate what is not evaluated yet; else it prints as `«thunk»`. */
  readonly force?: boolean;
  /** Print derivations as their path. */
  readonly derivationPaths?: boolean;
  /** Mark sets and lists met before instead of printing them again. */
  readonly trackRepeated?: boolean;
  readonly maxDepth?: number;
  readonly maxAttrs?: number;
  readonly maxListItems?: number;
  readonly maxStringLength?: number;
  /** Spaces of indentation a level; none prints on one line. */
  readonly indent?: number;
  /** What to do with an error met inside: print it in place, or throw. */
  readonly errors?: 'print' | 'throw' | 'throw-top-level';
}

const important = new Set(['type', '_type']);

function printElidedString(text: string, limit: number): string {
  if (text.length <= limit) return printStringLiteral(text);
  const count = text.length - limit;
  return `${printStringLiteral(text.slice(0, limit))} ${mark(`${count} byte${count === 1 ? '' : 's'} elided`)}`;
}

class Printer {
  private readonly options: PrintOptions;
  private readonly seen: Set<object> | undefined;
  private attrsPrinted = 0;
  private itemsPrinted = 0;
  private indentation = '';

  constructor(options: PrintOptions) {
    this.options = options;
    this.seen = (options.trackRepeated ?? true) ? new Set() : undefined;
  }

  print(slot: Slot, depth: number): string {
    if (depth > machine.maxDepth) {
      throw new NixError('stack-overflow', 'stack overflow; max-call-depth exceeded');
    }
    const { errors = 'print' } = this.options;
    try {
      if (slot instanceof Thunk && this.options.force !== true) {
        const value = slot.peek();
        if (value === undefined) return this.printThunk(slot);
        return this.printValue(value, depth);
      }
      return this.printValue(force(slot, noPos), depth);
    } catch (error) {
      if (!(error instanceof NixError) || error.kind === 'stack-overflow') throw error;
      if (errors === 'throw' || (errors === 'throw-top-level' && depth === 0)) throw error;
      return mark(`error: ${error.text}`);
    }
  }

  private printThunk(thunk: Thunk): string {
    return mark(thunk.isBeingEvaluated ? 'potential infinite recursion' : 'thunk');
  }

  private printValue(value: Value, depth: number): string {
    if (isString(value)) {
      return printElidedString(stringText(value), this.options.maxStringLength ?? Number.POSITIVE_INFINITY);
    }
    if (value === null) return 'null';
    if (isInt(value) || typeof value === 'boolean') return value.toString();
    if (value instanceof NixFloat) return formatFloat(value.value);
    if (value instanceof NixPath) return value.path;
    if (Array.isArray(value)) return this.printList(value, depth);
    if (value instanceof Attrs) return this.printAttrs(value, depth);
    if (value instanceof Lambda) {
      const { name, pos } = value.code.expr;
      const shown = name === undefined ? '' : ` ${printIdentifier(symbolName(name))}`;
      return mark(`lambda${shown} @ ${formatPosition(pos)}`);
    }
    if (value instanceof PrimOp) return mark(`primop ${value.name}`);
    return mark(`partially applied primop ${(value as PrimOpApp).primop.name}`);
  }

  private nested<T>(body: () => T): T {
    const saved = this.indentation;
    this.indentation += ' '.repeat(this.options.indent ?? 0);
    const result = body();
    this.indentation = saved;
    return result;
  }

  private space(pretty: boolean): string {
    return pretty ? `\n${this.indentation}` : ' ';
  }

  /** Sets and lists of more than one item, or with something nested, go over several lines. */
  private isTall(slots: readonly Slot[]): boolean {
    if ((this.options.indent ?? 0) === 0 || slots.length === 0) return false;
    if (slots.length > 1) return true;
    const only = force(slots[0]!, noPos);
    return Array.isArray(only) || only instanceof Attrs;
  }

  private printAttrs(attrs: Attrs, depth: number): string {
    const { options } = this;
    if (this.seen !== undefined) {
      if (this.seen.has(attrs)) return mark('repeated');
      this.seen.add(attrs);
    }
    if (options.force === true && options.derivationPaths === true && this.isDerivation(attrs)) {
      return this.printDerivation(attrs);
    }
    if (depth >= (options.maxDepth ?? Number.POSITIVE_INFINITY)) return '{ ... }';
    const maximum = options.maxAttrs ?? Number.POSITIVE_INFINITY;
    const entries = attrs.shape.order().map((index) => ({
      name: symbolName(attrs.shape.ids[index]!),
      slot: attrs.values[index]!,
    }));
    if (maximum !== Number.POSITIVE_INFINITY) {
      entries.sort((a, b) => Number(important.has(b.name)) - Number(important.has(a.name)));
    }
    const tall = this.isTall(entries.map((entry) => entry.slot));
    let out = '{';
    this.nested(() => {
      let here = 0;
      for (const { name, slot } of entries) {
        out += this.space(tall);
        if (this.attrsPrinted >= maximum) {
          const left = entries.length - here;
          out += mark(`${left} attribute${left === 1 ? '' : 's'} elided`);
          break;
        }
        out += `${printAttributeName(name)} = ${this.print(slot, depth + 1)};`;
        this.attrsPrinted++;
        here++;
      }
    });
    return `${out}${this.space(tall)}}`;
  }

  private printList(list: readonly Slot[], depth: number): string {
    const { options } = this;
    if (this.seen !== undefined && list.length > 0) {
      if (this.seen.has(list)) return mark('repeated');
      this.seen.add(list);
    }
    if (depth >= (options.maxDepth ?? Number.POSITIVE_INFINITY)) return '[ ... ]';
    const tall = this.isTall(list);
    let out = '[';
    this.nested(() => {
      let here = 0;
      for (const slot of list) {
        out += this.space(tall);
        if (this.itemsPrinted >= (options.maxListItems ?? Number.POSITIVE_INFINITY)) {
          const left = list.length - here;
          out += mark(`${left} item${left === 1 ? '' : 's'} elided`);
          break;
        }
        out += this.print(slot, depth + 1);
        this.itemsPrinted++;
        here++;
      }
    });
    return `${out}${this.space(tall)}]`;
  }

  private isDerivation(attrs: Attrs): boolean {
    const slot = attrs.get(sym.type);
    if (slot === undefined) return false;
    const type = force(slot, noPos);
    return isString(type) && stringText(type) === 'derivation';
  }

  private printDerivation(attrs: Attrs): string {
    const slot = attrs.get(sym.drvPath);
    if (slot === undefined) return mark('derivation');
    const path = force(slot, noPos);
    return mark(isString(path) ? `derivation ${stringText(path)}` : 'derivation');
  }
}

/** A value as text for a person (bytes). */
export function printValue(value: Slot, options: PrintOptions = {}): string {
  return new Printer(options).print(value, 0);
}

const errorOptions: PrintOptions = { maxDepth: 10, maxAttrs: 10, maxListItems: 10, maxStringLength: 1024 };

/** A value as it appears in an error message: nothing is evaluated, and large values are cut short. */
export function printForError(value: Slot): string {
  return printValue(value, errorOptions);
}

/**
 * A value as `nix-instantiate --eval` prints it. Sets and lists met before print as `«repeated»`.
 * What is not evaluated prints as `<CODE>`.
 */
export function printPlain(slot: Slot, seen = new Set<object>(), depth = 0): string {
  if (depth > machine.maxDepth) {
    throw new NixError('stack-overflow', 'stack overflow; max-call-depth exceeded');
  }
  let value: Value;
  if (slot instanceof Thunk) {
    const ready = slot.peek();
    if (ready === undefined) return slot.isBeingEvaluated ? mark('potential infinite recursion') : '<CODE>';
    value = ready;
  } else value = slot;
  if (isString(value)) return printStringLiteral(stringText(value));
  if (value === null) return 'null';
  if (isInt(value) || typeof value === 'boolean') return value.toString();
  if (value instanceof NixFloat) return formatFloat(value.value);
  if (value instanceof NixPath) return value.path;
  if (Array.isArray(value)) {
    // A list is known by the place that holds it, a set by itself: that is how Nix tells repetitions.
    const identity = slot as object;
    if (value.length > 0) {
      if (seen.has(identity)) return mark('repeated');
      seen.add(identity);
    }
    const items: string[] = [];
    for (const item of value) items.push(`${printPlain(item, seen, depth + 1)} `);
    return `[ ${items.join('')}]`;
  }
  if (value instanceof Attrs) {
    if (value.size > 0) {
      if (seen.has(value)) return mark('repeated');
      seen.add(value);
    }
    const parts: string[] = [];
    for (const index of value.shape.order()) {
      const name = printIdentifier(symbolName(value.shape.ids[index]!));
      parts.push(`${name} = ${printPlain(value.values[index]!, seen, depth + 1)}; `);
    }
    return `{ ${parts.join('')}}`;
  }
  if (value instanceof Lambda) return '<LAMBDA>';
  return value instanceof PrimOp ? '<PRIMOP>' : '<PRIMOP-APP>';
}
