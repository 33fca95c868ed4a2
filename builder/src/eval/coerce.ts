import { Attrs } from './attrs.js';
import { call1 } from './call.js';
import type { ContextCollector } from './context.js';
import { NixError, traced } from './errors.js';
import { enterDepth, forceString, leaveDepth } from './force.js';
import { formatFloatFixed } from './literal.js';
import { machine } from './machine.js';
import { canonicalPath } from './parser.js';
import { noPos, type Pos } from './positions.js';
import { printForError } from './print-value.js';
import { sym } from './symbols.js';
import { describeType } from './types.js';
import {
  force,
  isInt,
  isString,
  NixFloat,
  NixPath,
  NixString,
  type Slot,
  Thunk,
  type Value,
} from './values.js';

/** How to make a string of a value. */
export interface Coercion {
  /** What the string is wanted for, for the trace; empty to leave that to the caller. */
  readonly error: string;
  readonly pos?: Pos;
  /** Accept null, booleans, numbers and lists too. */
  readonly more?: boolean;
  /** Copy paths into the store (the default) rather than naming them where they are. */
  readonly copy?: boolean;
  /** Keep the trailing slash of a path literal. */
  readonly keepSlash?: boolean;
}

/** A string value from text and the context it gathered. */
export function makeString(text: string, collector: ContextCollector): string | NixString {
  const { context } = collector;
  return context === undefined ? text : new NixString(text, context);
}

/** The last component of a path. */
export function baseName(path: string): string {
  const trimmed = path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path;
  return trimmed.slice(trimmed.lastIndexOf('/') + 1);
}

const copiedPaths = new WeakMap<object, Map<string, string>>();

/** Puts a path into the store (or works out where it would go); gives its full store path. */
export function copyPathToStore(path: string, collector: ContextCollector): string {
  const { host, settings } = machine;
  const plain = canonicalPath(path);
  if (plain.endsWith('.drv')) throw new NixError('eval', "file names are not allowed to end in '.drv'");
  let known = copiedPaths.get(host);
  if (known === undefined) {
    known = new Map();
    copiedPaths.set(host, known);
  }
  let storePath = known.get(plain);
  if (storePath === undefined) {
    storePath = host.addPath({
      path: host.resolveSymlinks(plain, true),
      name: baseName(plain),
      method: 'recursive',
      dryRun: settings.readOnly,
    });
    known.set(plain, storePath);
  }
  collector.add(storePath);
  return `${host.storeDir}/${storePath}`;
}

/**
 * Follows `__toString` and `outPath` until something that is not such a set; `use` gets it, and whether a
 * `__toString` was called on the way.
 */
export function peelAttrs<T>(
  slot: Slot,
  options: { readonly pos: Pos; readonly checkResult: boolean },
  use: (value: Value, throughToString: boolean) => T,
): T {
  let through = false;
  const wrong = (verb: string, value: Value, pos: Pos): NixError =>
    new NixError(
      'type',
      `\`__toString\` ${verb} return a string, but got ${describeType(value)}: ${printForError(value)}`,
      pos,
    );
  const deeper = (inner: Slot, pos: Pos): T => {
    enterDepth(options.pos);
    const result = peel(inner, pos);
    leaveDepth();
    return result;
  };
  const peel = (current: Slot, pos: Pos): T => {
    const value = force(current, pos);
    if (!(value instanceof Attrs)) {
      if (options.checkResult && through && !isString(value) && !(value instanceof NixPath)) {
        throw wrong('should', value, pos);
      }
      return use(value, through);
    }
    const converter = value.get(sym.toString);
    if (converter !== undefined) {
      const at = value.positionOf(sym.toString);
      let result: Value;
      try {
        result = call1(force(converter, at), value, at);
      } catch (error) {
        throw traced(error, at, 'while calling the `__toString` attribute');
      }
      through = true;
      try {
        return deeper(result, at);
      } catch (error) {
        throw traced(error, at, 'while using the result of the `__toString` attribute');
      }
    }
    const outPath = value.get(sym.outPath);
    if (outPath !== undefined) {
      const at = value.positionOf(sym.outPath);
      try {
        force(outPath, at);
        return deeper(outPath, at);
      } catch (error) {
        const ready = !(outPath instanceof Thunk) || outPath.peek() !== undefined;
        throw traced(error, at, `while ${ready ? 'using' : 'evaluating'} the \`outPath\` attribute`);
      }
    }
    if (options.checkResult && through) throw wrong('must', value, pos);
    return use(value, through);
  };
  return peel(slot, options.pos);
}

function cannotCoerce(value: Value, how: Coercion): NixError {
  const text = `cannot coerce ${describeType(value)} to a string: ${printForError(value)}`;
  return new NixError('type', text).trace(how.pos ?? noPos, how.error);
}

function coerceList(list: readonly Slot[], collector: ContextCollector, how: Coercion): string {
  const inner: Coercion = { ...how, error: 'while evaluating one element of the list' };
  let result = '';
  list.forEach((item, index) => {
    try {
      result += coerceToString(item, collector, inner);
    } catch (error) {
      throw traced(error, how.pos ?? noPos, how.error);
    }
    if (index < list.length - 1) {
      const value = force(item);
      if (!Array.isArray(value) || value.length !== 0) result += ' ';
    }
  });
  return result;
}

function coerceMore(value: Value, collector: ContextCollector, how: Coercion): string {
  if (value === true) return '1';
  if (value === false || value === null) return '';
  if (isInt(value)) return value.toString();
  if (value instanceof NixFloat) return formatFloatFixed(value.value);
  if (Array.isArray(value)) return coerceList(value, collector, how);
  throw cannotCoerce(value, how);
}

/** The text (bytes) of a value; what it depends on goes to `collector`. */
export function coerceToString(slot: Slot, collector: ContextCollector, how: Coercion): string {
  const pos = how.pos ?? noPos;
  const value = force(slot, pos);
  if (typeof value === 'string') return value;
  if (value instanceof NixString) {
    collector.addAll(value.context);
    return value.text;
  }
  if (value instanceof NixPath) {
    const copy = how.copy ?? true;
    if (copy) return copyPathToStore(value.path, collector);
    return how.keepSlash === true ? value.path : canonicalPath(value.path);
  }
  enterDepth(pos);
  let result: string;
  if (value instanceof Attrs) {
    result = peelAttrs(value, { pos, checkResult: false }, (peeled) => {
      if (peeled instanceof Attrs) throw cannotCoerce(peeled, how);
      return coerceToString(peeled, collector, how.keepSlash === true ? { ...how, keepSlash: false } : how);
    });
  } else if (how.more === true) result = coerceMore(value, collector, how);
  else throw cannotCoerce(value, how);
  leaveDepth();
  return result;
}

/** The absolute path a value stands for. */
export function coerceToPath(
  slot: Slot,
  collector: ContextCollector,
  error: string,
  pos: Pos = noPos,
): string {
  return peelAttrs(slot, { pos, checkResult: false }, (value) => {
    if (value instanceof NixPath) return canonicalPath(value.path);
    const text = coerceToString(value, collector, { error, pos, copy: false });
    if (!text.startsWith('/')) {
      throw new NixError('eval', `string '${text}' doesn't represent an absolute path`).trace(pos, error);
    }
    return canonicalPath(text);
  });
}

/** A string's text, its context gathered. */
export function forceStringWith(
  slot: Slot,
  collector: ContextCollector,
  error: string,
  pos: Pos = noPos,
): string {
  const value = forceString(slot, pos, error);
  if (typeof value === 'string') return value;
  collector.addAll(value.context);
  return value.text;
}
