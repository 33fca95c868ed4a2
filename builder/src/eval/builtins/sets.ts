import { Attrs, AttrsBuilder, pickAttrs, Shape } from '../attrs.js';
import { delayCall2 } from '../call.js';
import { forceAttrs, forceFunction, forceList, forceStringNoContext, requireAttr } from '../force.js';
import { printIdentifier } from '../literal.js';
import { positionValue } from '../position-value.js';
import { noPos } from '../positions.js';
import { intern, internedId, sym, symbolName } from '../symbols.js';
import { force, type Slot, type Value } from '../values.js';
import { type Builtin, define } from './define.js';

function attrNames(slot: Slot): Value {
  const attrs = forceAttrs(slot, noPos, 'while evaluating the argument passed to builtins.attrNames');
  return attrs.shape.order().map((index) => symbolName(attrs.shape.ids[index]!));
}

function attrValues(slot: Slot): Value {
  const attrs = forceAttrs(slot, noPos, 'while evaluating the argument passed to builtins.attrValues');
  return attrs.shape.order().map((index) => attrs.values[index]!);
}

/** The name and set of a builtin called as `f "name" set`. */
function nameAndSet(name: Slot, set: Slot, builtin: string): { name: string; attrs: Attrs } {
  const text = forceStringNoContext(
    name,
    noPos,
    `while evaluating the first argument passed to builtins.${builtin}`,
  );
  const attrs = forceAttrs(set, noPos, `while evaluating the second argument passed to builtins.${builtin}`);
  return { name: text, attrs };
}

function getAttr(nameSlot: Slot, set: Slot): Value {
  const { name, attrs } = nameAndSet(nameSlot, set, 'getAttr');
  return force(
    requireAttr(intern(name), printIdentifier(name), attrs, 'in the attribute set under consideration'),
  );
}

function hasAttr(nameSlot: Slot, set: Slot): Value {
  const { name, attrs } = nameAndSet(nameSlot, set, 'hasAttr');
  const id = internedId(name);
  return id !== undefined && attrs.has(id);
}

function unsafeGetAttrPos(nameSlot: Slot, set: Slot): Value {
  const { name, attrs } = nameAndSet(nameSlot, set, 'unsafeGetAttrPos');
  const id = internedId(name);
  return id === undefined ? null : positionValue(attrs.positionOf(id));
}

function removeAttrs(set: Slot, names: Slot): Value {
  const attrs = forceAttrs(set, noPos, 'while evaluating the first argument passed to builtins.removeAttrs');
  const list = forceList(names, noPos, 'while evaluating the second argument passed to builtins.removeAttrs');
  const removed = new Set<number>();
  for (const name of list) {
    const text = forceStringNoContext(
      name,
      noPos,
      'while evaluating the values of the second argument passed to builtins.removeAttrs',
    );
    const id = internedId(text);
    if (id !== undefined) removed.add(id);
  }
  const kept: number[] = [];
  attrs.shape.ids.forEach((id, index) => {
    if (!removed.has(id)) kept.push(index);
  });
  return pickAttrs(attrs, kept);
}

function listToAttrs(slot: Slot): Value {
  const list = forceList(slot, noPos, 'while evaluating the argument passed to builtins.listToAttrs');
  const seen = new Map<number, Attrs>();
  for (const item of list) {
    const pair = forceAttrs(
      item,
      noPos,
      'while evaluating an element of the list passed to builtins.listToAttrs',
    );
    const name = forceStringNoContext(
      requireAttr(sym.name, 'name', pair, 'in a {name=...; value=...;} pair'),
      pair.positionOf(sym.name),
      'while evaluating the `name` attribute of an element of the list passed to builtins.listToAttrs',
    );
    const id = intern(name);
    if (!seen.has(id)) seen.set(id, pair);
  }
  const builder = new AttrsBuilder();
  for (const [id, pair] of seen) {
    const value = requireAttr(sym.value, 'value', pair, 'in a {name=...; value=...;} pair');
    builder.add(id, value, pair.positionOf(sym.value));
  }
  return builder.finish();
}

function intersectAttrs(first: Slot, second: Slot): Value {
  const left = forceAttrs(
    first,
    noPos,
    'while evaluating the first argument passed to builtins.intersectAttrs',
  );
  const right = forceAttrs(
    second,
    noPos,
    'while evaluating the second argument passed to builtins.intersectAttrs',
  );
  const kept: number[] = [];
  if (left.size < right.size) {
    for (const id of left.shape.ids) {
      const index = right.shape.find(id);
      if (index >= 0) kept.push(index);
    }
  } else {
    right.shape.ids.forEach((id, index) => {
      if (left.has(id)) kept.push(index);
    });
  }
  return pickAttrs(right, kept);
}

function catAttrs(nameSlot: Slot, slot: Slot): Value {
  const name = forceStringNoContext(
    nameSlot,
    noPos,
    'while evaluating the first argument passed to builtins.catAttrs',
  );
  const id = intern(name);
  const list = forceList(slot, noPos, 'while evaluating the second argument passed to builtins.catAttrs');
  const found: Slot[] = [];
  for (const item of list) {
    const value = forceAttrs(
      item,
      noPos,
      'while evaluating an element in the list passed as second argument to builtins.catAttrs',
    ).get(id);
    if (value !== undefined) found.push(value);
  }
  return found;
}

const plainShapes = new WeakMap<Shape, Shape>();

/** The shape with the same names and no positions: what `mapAttrs` gives. */
function withoutPositions(shape: Shape): Shape {
  if (shape.positions === undefined) return shape;
  let plain = plainShapes.get(shape);
  if (plain === undefined) {
    plain = new Shape(shape.ids, undefined, shape.stable);
    plainShapes.set(shape, plain);
  }
  return plain;
}

function mapAttrs(callee: Slot, slot: Slot): Value {
  const attrs = forceAttrs(slot, noPos, 'while evaluating the second argument passed to builtins.mapAttrs');
  const { ids } = attrs.shape;
  return new Attrs(
    withoutPositions(attrs.shape),
    attrs.values.map((value, i) => delayCall2(callee, symbolName(ids[i]!), value)),
  );
}

function zipAttrsWith(callee: Slot, slot: Slot): Value {
  forceFunction(callee, noPos, 'while evaluating the first argument passed to builtins.zipAttrsWith');
  const list = forceList(slot, noPos, 'while evaluating the second argument passed to builtins.zipAttrsWith');
  const found = new Map<number, Slot[]>();
  for (const item of list) {
    const attrs = forceAttrs(
      item,
      noPos,
      'while evaluating a value of the list passed as second argument to builtins.zipAttrsWith',
    );
    attrs.shape.ids.forEach((id, i) => {
      const values = found.get(id);
      if (values === undefined) found.set(id, [attrs.values[i]!]);
      else values.push(attrs.values[i]!);
    });
  }
  const builder = new AttrsBuilder();
  for (const [id, values] of found) builder.add(id, delayCall2(callee, symbolName(id), values));
  return builder.finish();
}

/** Builtins on attribute sets. */
export function setBuiltins(): Builtin[] {
  return [
    define('__attrNames', 1, (slot) => attrNames(slot!)),
    define('__attrValues', 1, (slot) => attrValues(slot!)),
    define('__getAttr', 2, (name, set) => getAttr(name!, set!)),
    define('__hasAttr', 2, (name, set) => hasAttr(name!, set!)),
    define('__unsafeGetAttrPos', 2, (name, set) => unsafeGetAttrPos(name!, set!)),
    define('removeAttrs', 2, (set, names) => removeAttrs(set!, names!)),
    define('__listToAttrs', 1, (slot) => listToAttrs(slot!)),
    define('__intersectAttrs', 2, (left, right) => intersectAttrs(left!, right!)),
    define('__catAttrs', 2, (name, list) => catAttrs(name!, list!)),
    define('__mapAttrs', 2, (callee, set) => mapAttrs(callee!, set!)),
    define('__zipAttrsWith', 2, (callee, list) => zipAttrsWith(callee!, list!)),
  ];
}
