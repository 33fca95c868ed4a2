import { Attrs, AttrsBuilder } from '../attrs.js';
import { call1, ownPosition } from '../call.js';
import { coerceToString } from '../coerce.js';
import { ContextCollector } from '../context.js';
import { lessThan } from '../equality.js';
import { NixError, traced } from '../errors.js';
import {
  enterDepth,
  forceAttrs,
  forceFunction,
  forceList,
  forceString,
  leaveDepth,
  requireAttr,
} from '../force.js';
import { formatWarning } from '../format-error.js';
import { machine } from '../machine.js';
import { noPos } from '../positions.js';
import { printForError, printValue } from '../print-value.js';
import { sym, symbolName } from '../symbols.js';
import { force, isInt, isString, type Slot, stringText, type Value } from '../values.js';
import { type Builtin, define, defineUntraced } from './define.js';

/** Evaluates a value and everything in it. */
export function forceDeep(root: Slot): Value {
  const seen = new Set<Slot>();
  const visit = (slot: Slot): void => {
    const pos = ownPosition(slot);
    enterDepth(pos);
    const value = force(slot, pos);
    const container = value instanceof Attrs || Array.isArray(value);
    if (container && !seen.has(value)) {
      seen.add(value);
      if (value instanceof Attrs) visitAttrs(value);
      else visitList(value);
    }
    leaveDepth();
  };
  const visitAttrs = (attrs: Attrs): void => {
    attrs.values.forEach((slot, i) => {
      try {
        visit(slot);
      } catch (error) {
        const name = symbolName(attrs.shape.ids[i]!);
        throw traced(error, attrs.shape.position(i), `while evaluating the attribute '${name}'`);
      }
    });
  };
  const visitList = (list: readonly Slot[]): void => {
    list.forEach((slot, index) => {
      try {
        visit(slot);
      } catch (error) {
        throw traced(error, noPos, `while evaluating list element at index ${index}`);
      }
    });
  };
  visit(root);
  return force(root);
}

function tryEval(slot: Slot): Value {
  const { depth } = machine;
  const builder = new AttrsBuilder();
  try {
    builder.add(sym.value, force(slot)).add(sym.success, true);
    return builder.finish();
  } catch (error) {
    if (!(error instanceof NixError) || (error.kind !== 'throw' && error.kind !== 'assertion')) throw error;
    machine.depth = depth;
    return new AttrsBuilder().add(sym.value, false).add(sym.success, false).finish();
  }
}

function message(slot: Slot, error: string): string {
  return coerceToString(slot, new ContextCollector(), { error });
}

function addErrorContext(context: Slot, slot: Slot): Value {
  try {
    return force(slot);
  } catch (error) {
    if (!(error instanceof NixError)) throw error;
    const text = coerceToString(context, new ContextCollector(), {
      error: 'while evaluating the error message passed to builtins.addErrorContext',
      copy: false,
    });
    throw error.trace(noPos, text, true);
  }
}

function trace(shown: Slot, result: Slot): Value {
  const value = force(shown);
  machine.host.log(`trace: ${isString(value) ? stringText(value) : printValue(value)}`);
  return force(result);
}

function warn(text: Slot, result: Slot): Value {
  const value = forceString(
    text,
    noPos,
    'while evaluating the first argument; the message passed to builtins.warn',
  );
  machine.host.log(formatWarning(stringText(value)));
  if (machine.settings.abortOnWarn) {
    throw new NixError('other', 'aborting to reveal stack trace of warning, as abort-on-warn is set');
  }
  return force(result);
}

/** Keys met so far, in one sorted array; comparison as the language's `<`, which may throw. */
class KeySet {
  private readonly simple = new Map<Value, Slot>();
  private readonly sorted: { key: Value; element: Slot }[] = [];

  /** Adds a key; false if an equal one was there. */
  insert(key: Value, element: Slot): boolean {
    const plain = isString(key) ? stringText(key) : isInt(key) ? key : undefined;
    if (plain !== undefined && this.sorted.length === 0) {
      if (this.simple.has(plain)) return false;
      const other = this.simple.entries().next();
      if (!other.done) lessThan(plain, other.value[0]);
      this.simple.set(plain, element);
      return true;
    }
    for (const [old, oldElement] of this.simple) this.place(old, oldElement);
    this.simple.clear();
    return this.place(key, element);
  }

  private place(key: Value, element: Slot): boolean {
    let low = 0;
    let high = this.sorted.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (lessThan(this.sorted[middle]!.key, key)) low = middle + 1;
      else high = middle;
    }
    const found = this.sorted[low];
    if (found !== undefined && !lessThan(key, found.key)) return false;
    this.sorted.splice(low, 0, { key, element });
    return true;
  }

  /** The element whose key cannot be compared with `key`. */
  incomparable(key: Value): Slot | undefined {
    const entries = [...[...this.simple].map(([old, element]) => ({ key: old, element })), ...this.sorted];
    return entries.find((entry) => {
      try {
        lessThan(key, entry.key);
        return false;
      } catch {
        return true;
      }
    })?.element;
  }
}

function closureKey(element: Slot): Value {
  try {
    const attrs = forceAttrs(element, noPos, '');
    return force(requireAttr(sym.key, 'key', attrs, ''));
  } catch (error) {
    throw traced(error, noPos, `in genericClosure element ${printForError(element)}`);
  }
}

function insertKey(keys: KeySet, key: Value, element: Slot): boolean {
  try {
    return keys.insert(key, element);
  } catch (error) {
    if (error instanceof NixError) {
      const other = keys.incomparable(key);
      const shown = printForError(element);
      if (other === undefined) error.trace(noPos, `while checking key of element ${shown}`);
      else {
        error.trace(noPos, `with element ${printForError(other)}`);
        error.trace(noPos, `while comparing element ${shown}`);
      }
    }
    throw error;
  }
}

function genericClosure(argument: Slot): Value {
  const where = 'in the attrset passed as argument to builtins.genericClosure';
  const attrs = forceAttrs(
    argument,
    noPos,
    'while evaluating the first argument passed to builtins.genericClosure',
  );
  const start = forceList(
    requireAttr(sym.startSet, 'startSet', attrs, where),
    noPos,
    "while evaluating the 'startSet' attribute passed as argument to builtins.genericClosure",
  );
  if (start.length === 0) return start;
  const operator = forceFunction(
    requireAttr(sym.operator, 'operator', attrs, where),
    noPos,
    "while evaluating the 'operator' attribute passed as argument to builtins.genericClosure",
  );
  const queue = [...start];
  const keys = new KeySet();
  const result: Slot[] = [];
  for (let at = 0; at < queue.length; at++) {
    const element = queue[at]!;
    if (!insertKey(keys, closureKey(element), element)) continue;
    result.push(element);
    try {
      const next = forceList(
        call1(operator, element, noPos),
        noPos,
        'while evaluating the return value of the `operator` passed to builtins.genericClosure',
      );
      for (const item of next) {
        force(item);
        queue.push(item);
      }
    } catch (error) {
      throw traced(
        error,
        noPos,
        `while calling operator on genericClosure element ${printForError(element)}`,
      );
    }
  }
  return result;
}

/** Builtins that steer evaluation: errors, strictness, traces, and the closure of an operator. */
export function controlBuiltins(): Builtin[] {
  return [
    define('abort', 1, (slot) => {
      const text = message(slot!, 'while evaluating the error message passed to builtins.abort');
      throw new NixError('abort', `evaluation aborted with the following error message: '${text}'`);
    }),
    define('throw', 1, (slot) => {
      throw new NixError(
        'throw',
        message(slot!, 'while evaluating the error message passed to builtin.throw'),
      );
    }),
    defineUntraced('__addErrorContext', 2, (context, slot) => addErrorContext(context!, slot!)),
    define('__tryEval', 1, (slot) => tryEval(slot!)),
    define('__seq', 2, (first, second) => {
      force(first!);
      return force(second!);
    }),
    define('__deepSeq', 2, (first, second) => {
      forceDeep(first!);
      return force(second!);
    }),
    define('__trace', 2, (shown, result) => trace(shown!, result!)),
    define('__traceVerbose', 2, (shown, result) =>
      machine.settings.traceVerbose ? trace(shown!, result!) : force(result!),
    ),
    define('__warn', 2, (text, result) => warn(text!, result!)),
    define('break', 1, (slot) => force(slot!)),
    define('__genericClosure', 1, (slot) => genericClosure(slot!)),
  ];
}
