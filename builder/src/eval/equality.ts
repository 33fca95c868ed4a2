import { Attrs } from './attrs.js';
import { NixError, traced } from './errors.js';
import { enterDepth, isDerivation, leaveDepth } from './force.js';
import { printIdentifier } from './literal.js';
import type { Pos } from './positions.js';
import { noPos } from './positions.js';
import { printForError } from './print-value.js';
import { sym, symbolName } from './symbols.js';
import { describeType, typeName } from './types.js';
import {
  Callable,
  force,
  isInt,
  isString,
  NixFloat,
  NixPath,
  type Slot,
  stringText,
  type Value,
} from './values.js';

function sameNumber(a: number | bigint, b: number | bigint): boolean {
  return a === b;
}

function equalAttrs(a: Attrs, b: Attrs, pos: Pos): boolean {
  if (isDerivation(a) && isDerivation(b)) {
    const left = a.get(sym.outPath);
    const right = b.get(sym.outPath);
    if (left !== undefined && right !== undefined) return equalValues(left, right, pos);
  }
  if (a.size !== b.size) return false;
  const idsA = a.shape.ids;
  const idsB = b.shape.ids;
  for (let i = 0; i < idsA.length; i++) {
    if (idsA[i] !== idsB[i] || !equalValues(a.values[i]!, b.values[i]!, pos)) return false;
  }
  return true;
}

function equalForced(a: Value, b: Value, pos: Pos): boolean {
  if (isInt(a)) {
    if (isInt(b)) return sameNumber(a, b);
    return b instanceof NixFloat && Number(a) === b.value;
  }
  if (a instanceof NixFloat) {
    if (b instanceof NixFloat) return a.value === b.value;
    return isInt(b) && a.value === Number(b);
  }
  if (isString(a)) return isString(b) && stringText(a) === stringText(b);
  if (a === null || typeof a === 'boolean') return a === b;
  if (a instanceof NixPath) return b instanceof NixPath && a.path === b.path;
  if (Array.isArray(a)) {
    if (!Array.isArray(b) || a.length !== b.length) return false;
    for (let i = 0; i < a.length; i++) if (!equalValues(a[i]!, b[i]!, pos)) return false;
    return true;
  }
  if (a instanceof Attrs) return b instanceof Attrs && equalAttrs(a, b, pos);
  return false;
}

/**
 * Whether two slots hold equal values. Functions equal nothing, unless both slots are the very same one:
 * old code depends on that.
 */
export function equalValues(left: Slot, right: Slot, pos: Pos): boolean {
  enterDepth(pos);
  const a = force(left, pos);
  const b = force(right, pos);
  const result = left === right ? true : equalForced(a, b, pos);
  leaveDepth();
  return result;
}

/** Whether two values computed for an `==` are equal; there, identity does not make functions equal. */
export function equalOperands(a: Value, b: Value, pos: Pos): boolean {
  if (a instanceof Callable || b instanceof Callable) return false;
  return equalForced(a, b, pos);
}

const unequal = (text: string): NixError => new NixError('assertion', text);

function explainAttrs(a: Attrs, b: Attrs, pos: Pos): void {
  if (isDerivation(a) && isDerivation(b)) {
    const left = a.get(sym.outPath);
    const right = b.get(sym.outPath);
    if (left !== undefined && right !== undefined) {
      try {
        explainInequality(left, right, pos);
        return;
      } catch (error) {
        throw traced(error, pos, "while comparing a derivation by its 'outPath' attribute");
      }
    }
  }
  const shownA = () => printForError(a);
  const shownB = () => printForError(b);
  if (a.size !== b.size) {
    throw unequal(`attribute names of attribute set '${shownA()}' differs from attribute set '${shownB()}'`);
  }
  a.shape.ids.forEach((id, i) => {
    const other = b.shape.ids[i]!;
    if (id !== other) {
      const name = printIdentifier(symbolName(b.has(id) ? other : id));
      throw b.has(id)
        ? unequal(`attribute name '${name}' is missing in '${shownA()}', but is contained in '${shownB()}'`)
        : unequal(`attribute name '${name}' is contained in '${shownA()}', but not in '${shownB()}'`);
    }
    try {
      explainInequality(a.values[i]!, b.values[i]!, pos);
    } catch (error) {
      if (error instanceof NixError) {
        const right = b.shape.position(i);
        const left = a.shape.position(i);
        if (right !== noPos) error.trace(right, 'where right hand side is');
        if (left !== noPos) error.trace(left, 'where left hand side is');
        error.trace(pos, `while comparing attribute '${printIdentifier(symbolName(id))}'`);
      }
      throw error;
    }
  });
}

function explainLists(a: readonly Slot[], b: readonly Slot[], pos: Pos): void {
  if (a.length !== b.length) {
    throw unequal(
      `list of size '${a.length}' is not equal to list of size '${b.length}', left hand side is '${printForError(a as Value)}', right hand side is '${printForError(b as Value)}'`,
    );
  }
  a.forEach((item, i) => {
    try {
      explainInequality(item, b[i]!, pos);
    } catch (error) {
      throw traced(error, pos, `while comparing list element ${i}`);
    }
  });
}

const kindsOfValue: Readonly<Record<string, string>> = {
  bool: 'boolean',
  string: 'string',
  path: 'path',
};

function explainInequality(left: Slot, right: Slot, pos: Pos): void {
  enterDepth(pos);
  const a = force(left, pos);
  const b = force(right, pos);
  if (left !== right) explainForced(a, b, pos);
  leaveDepth();
}

/** Throws, as an assertion, in what the two operands of a failed `==` differ. */
export function explainOperands(a: Value, b: Value, pos: Pos): void {
  enterDepth(pos);
  explainForced(a, b, pos);
  leaveDepth();
}

function explainForced(a: Value, b: Value, pos: Pos): void {
  const numeric = (value: Value) => isInt(value) || value instanceof NixFloat;
  if (numeric(a) && numeric(b)) {
    if (equalForced(a, b, pos)) return;
    throw unequal(
      `${describeType(a)} with value '${printForError(a)}' is not equal to ${describeType(b)} with value '${printForError(b)}'`,
    );
  }
  if (typeName(a) !== typeName(b)) {
    throw unequal(
      `${describeType(a)} of value '${printForError(a)}' is not equal to ${describeType(b)} of value '${printForError(b)}'`,
    );
  }
  if (Array.isArray(a)) explainLists(a, b as Slot[], pos);
  else if (a instanceof Attrs) explainAttrs(a, b as Attrs, pos);
  else if (a instanceof Callable) {
    throw unequal('distinct functions and immediate comparisons of identical functions compare as unequal');
  } else if (!equalForced(a, b, pos)) {
    const kind = kindsOfValue[typeName(a)]!;
    throw unequal(`${kind} '${printForError(a)}' is not equal to ${kind} '${printForError(b)}'`);
  }
}

function incomparable(a: Value, b: Value): NixError {
  const shown = `values are ${printForError(a)} and ${printForError(b)}`;
  const types = `${describeType(a)} with ${describeType(b)}`;
  if (typeName(a) !== typeName(b)) return new NixError('eval', `cannot compare ${types}; ${shown}`);
  return new NixError('eval', `cannot compare ${types}; values of that type are incomparable (${shown})`);
}

function lessForced(a: Value, b: Value): boolean {
  if (isInt(a) && isInt(b)) return a < b;
  if (a instanceof NixFloat) {
    if (b instanceof NixFloat) return a.value < b.value;
    if (isInt(b)) return a.value < Number(b);
  }
  if (isInt(a) && b instanceof NixFloat) return Number(a) < b.value;
  if (isString(a) && isString(b)) return stringText(a) < stringText(b);
  if (a instanceof NixPath && b instanceof NixPath) return a.path < b.path;
  if (Array.isArray(a) && Array.isArray(b)) {
    for (let i = 0; ; i++) {
      if (i === b.length) return false;
      if (i === a.length) return true;
      if (!equalValues(a[i]!, b[i]!, noPos)) {
        return lessThan(force(a[i]!), force(b[i]!), 'while comparing two list elements');
      }
    }
  }
  throw incomparable(a, b);
}

/** `a < b`; `error` is what the comparison is for, in the trace. */
export function lessThan(a: Value, b: Value, error = ''): boolean {
  try {
    return lessForced(a, b);
  } catch (caught) {
    if (error === '') throw caught;
    throw traced(caught, noPos, error);
  }
}
