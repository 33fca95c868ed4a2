import { Attrs } from './attrs.js';
import { parseContextElement } from './context.js';
import { NixError, traced } from './errors.js';
import { machine } from './machine.js';
import { noPos, type Pos } from './positions.js';
import { printForError } from './print-value.js';
import { sym } from './symbols.js';
import { describeType } from './types.js';
import {
  Callable,
  force,
  isInt,
  isString,
  Lambda,
  type List,
  NixFloat,
  type NixString,
  type Slot,
  stringText,
  type Value,
} from './values.js';

/** The error of a value of another type than was asked for. */
export function typeError(expected: string, value: Value, pos: Pos = noPos): NixError {
  return new NixError(
    'type',
    `expected ${expected} but found ${describeType(value)}: ${printForError(value)}`,
    pos,
  );
}

/** The set in a slot; `context` says in the trace what it was wanted for. */
export function forceAttrs(slot: Slot, pos: Pos, context: string): Attrs {
  const value = force(slot, pos);
  if (value instanceof Attrs) return value;
  throw typeError('a set', value).trace(pos, context);
}

export function forceList(slot: Slot, pos: Pos, context: string): List {
  const value = force(slot, pos);
  if (Array.isArray(value)) return value;
  throw typeError('a list', value).trace(pos, context);
}

export function forceInt(slot: Slot, pos: Pos, context: string): number | bigint {
  try {
    const value = force(slot, pos);
    if (isInt(value)) return value;
    throw typeError('an integer', value, pos);
  } catch (error) {
    throw traced(error, pos, context);
  }
}

export function forceFloat(slot: Slot, pos: Pos, context: string): number {
  try {
    const value = force(slot, pos);
    if (isInt(value)) return Number(value);
    if (value instanceof NixFloat) return value.value;
    throw typeError('a float', value, pos);
  } catch (error) {
    throw traced(error, pos, context);
  }
}

export function forceBool(slot: Slot, pos: Pos, context: string): boolean {
  try {
    const value = force(slot, pos);
    if (typeof value === 'boolean') return value;
    throw typeError('a Boolean', value, pos);
  } catch (error) {
    throw traced(error, pos, context);
  }
}

export function forceString(slot: Slot, pos: Pos, context: string): string | NixString {
  try {
    const value = force(slot, pos);
    if (isString(value)) return value;
    throw typeError('a string', value, pos);
  } catch (error) {
    throw traced(error, pos, context);
  }
}

/** A string that may not depend on the store. */
export function forceStringNoContext(slot: Slot, pos: Pos, context: string): string {
  const value = forceString(slot, pos, context);
  if (typeof value === 'string') return value;
  const first = [...value.context].sort()[0]!;
  const text = `the string '${value.text}' is not allowed to refer to a store path (such as '${displayContextElement(first)}')`;
  throw new NixError('eval', text).trace(pos, context);
}

/** A context element as messages show it. */
export function displayContextElement(text: string): string {
  const element = parseContextElement(text);
  const { storeDir } = machine.host;
  switch (element.kind) {
    case 'opaque':
      return `${storeDir}/${element.path}`;
    case 'drv-deep':
      return `${storeDir}/${element.drv} (deep)`;
    case 'built': {
      const inner = displayContextElement(element.drv);
      return `${inner}^${element.output}`;
    }
  }
}

export function isFunctor(value: Value): value is Attrs {
  return value instanceof Attrs && value.has(sym.functor);
}

export function forceFunction(slot: Slot, pos: Pos, context: string): Value {
  try {
    const value = force(slot, pos);
    if (value instanceof Lambda) value.evaluated = true;
    if (value instanceof Callable || isFunctor(value)) return value;
    throw typeError('a function', value, pos);
  } catch (error) {
    throw traced(error, pos, context);
  }
}

/** An attribute that must be there. */
export function requireAttr(id: number, name: string, attrs: Attrs, context: string): Slot {
  const slot = attrs.get(id);
  if (slot === undefined) throw new NixError('type', `attribute '${name}' missing`).trace(noPos, context);
  return slot;
}

/** Whether a value is a set with `type = "derivation"`. */
export function isDerivation(value: Value): value is Attrs {
  if (!(value instanceof Attrs)) return false;
  const slot = value.get(sym.type);
  if (slot === undefined) return false;
  const type = force(slot, value.positionOf(sym.type));
  return isString(type) && stringText(type) === 'derivation';
}

/** Raises the call depth for something that recurses without calling; pair with `leaveDepth`. */
export function enterDepth(pos: Pos): void {
  if (machine.depth > machine.maxDepth) throw stackOverflow(pos);
  machine.depth++;
}

export function leaveDepth(): void {
  machine.depth--;
}

export function stackOverflow(pos: Pos): NixError {
  return new NixError('stack-overflow', 'stack overflow; max-call-depth exceeded', pos);
}
