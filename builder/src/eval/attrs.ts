import { noPos, type Pos } from './positions.js';
import { symbolName } from './symbols.js';
import type { Slot } from './values.js';

interface MergePlan {
  readonly shape: Shape;
  /** For each attribute of the result: its index in the right set, or the complement of its index in the left. */
  readonly sources: readonly number[];
}

const STABLE_LIMIT = 128;

/**
 * The names of an attribute set, sorted by symbol, and where each was defined. Sets made by the same literal
 * share one, so that a selection can remember where it found its attribute, and merges of two can be planned once.
 */
export class Shape {
  readonly ids: readonly number[];
  readonly positions: readonly Pos[] | undefined;
  /** Whether more sets of this shape are likely, so that remembering things about it pays. */
  readonly stable: boolean;
  private byName: readonly number[] | undefined;
  private merges: Map<Shape, MergePlan> | undefined;

  constructor(ids: readonly number[], positions: readonly Pos[] | undefined, stable = false) {
    this.ids = ids;
    this.positions = positions;
    this.stable = stable;
  }

  /** The index of an attribute, or -1. */
  find(id: number): number {
    const { ids } = this;
    const { length } = ids;
    if (length <= 8) {
      for (let i = 0; i < length; i++) if (ids[i] === id) return i;
      return -1;
    }
    let low = 0;
    let high = length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      const found = ids[middle]!;
      if (found === id) return middle;
      if (found < id) low = middle + 1;
      else high = middle - 1;
    }
    return -1;
  }

  position(index: number): Pos {
    return this.positions === undefined ? noPos : this.positions[index]!;
  }

  /** The indices in the order of the names' bytes. */
  order(): readonly number[] {
    if (this.byName === undefined) {
      const { ids } = this;
      const names = ids.map(symbolName);
      this.byName = ids
        .map((_, index) => index)
        .sort((a, b) => (names[a]! < names[b]! ? -1 : names[a]! > names[b]! ? 1 : 0));
    }
    return this.byName;
  }

  mergePlan(right: Shape): MergePlan {
    const remember = this.stable && right.stable && this.ids.length + right.ids.length <= STABLE_LIMIT;
    if (!remember) return planMerge(this, right, false);
    this.merges ??= new Map();
    let plan = this.merges.get(right);
    if (plan === undefined) {
      plan = planMerge(this, right, true);
      this.merges.set(right, plan);
    }
    return plan;
  }
}

function planMerge(left: Shape, right: Shape, stable: boolean): MergePlan {
  const a = left.ids;
  const b = right.ids;
  const ids: number[] = [];
  const sources: number[] = [];
  const positions: Pos[] | undefined =
    left.positions === undefined && right.positions === undefined ? undefined : [];
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    const fromLeft = j >= b.length || (i < a.length && a[i]! < b[j]!);
    if (fromLeft) {
      ids.push(a[i]!);
      sources.push(~i);
      positions?.push(left.position(i));
      i++;
    } else {
      if (i < a.length && a[i] === b[j]) i++;
      ids.push(b[j]!);
      sources.push(j);
      positions?.push(right.position(j));
      j++;
    }
  }
  return { shape: new Shape(ids, positions, stable), sources };
}

/** An attribute set: a shape, and a slot for each of its names. */
export class Attrs {
  readonly shape: Shape;
  readonly values: Slot[];
  /** Where the literal that made the set stands. */
  readonly pos: Pos;

  constructor(shape: Shape, values: Slot[], pos: Pos = noPos) {
    this.shape = shape;
    this.values = values;
    this.pos = pos;
  }

  get size(): number {
    return this.values.length;
  }

  get(id: number): Slot | undefined {
    const index = this.shape.find(id);
    return index < 0 ? undefined : this.values[index];
  }

  has(id: number): boolean {
    return this.shape.find(id) >= 0;
  }

  /** Where an attribute was defined. */
  positionOf(id: number): Pos {
    const index = this.shape.find(id);
    return index < 0 ? noPos : this.shape.position(index);
  }

  /** The names, unsorted. */
  names(): string[] {
    return this.shape.ids.map(symbolName);
  }
}

const emptyShape = new Shape([], undefined, true);

/** The set without attributes. */
export const emptyAttrs = new Attrs(emptyShape, []);

/** `left // right`. */
export function updateAttrs(left: Attrs, right: Attrs): Attrs {
  if (left.values.length === 0) return right;
  if (right.values.length === 0) return left;
  const { shape, sources } = left.shape.mergePlan(right.shape);
  const { length } = sources;
  const values = new Array<Slot>(length);
  const a = left.values;
  const b = right.values;
  for (let i = 0; i < length; i++) {
    const source = sources[i]!;
    values[i] = source >= 0 ? b[source]! : a[~source]!;
  }
  return new Attrs(shape, values);
}

/** Collects attributes in any order, each name once. */
export class AttrsBuilder {
  private readonly ids: number[] = [];
  private readonly values: Slot[] = [];
  private readonly positions: Pos[] = [];
  private hasPositions = false;

  add(id: number, value: Slot, pos: Pos = noPos): this {
    this.ids.push(id);
    this.values.push(value);
    this.positions.push(pos);
    if (pos !== noPos) this.hasPositions = true;
    return this;
  }

  finish(pos: Pos = noPos): Attrs {
    const { ids, values, positions } = this;
    if (ids.length === 0 && pos === noPos) return emptyAttrs;
    let sorted = true;
    for (let i = 1; i < ids.length && sorted; i++) sorted = ids[i - 1]! < ids[i]!;
    if (sorted) return new Attrs(new Shape(ids, this.hasPositions ? positions : undefined), values, pos);
    const order = ids.map((_, index) => index).sort((a, b) => ids[a]! - ids[b]!);
    return new Attrs(
      new Shape(
        order.map((index) => ids[index]!),
        this.hasPositions ? order.map((index) => positions[index]!) : undefined,
      ),
      order.map((index) => values[index]!),
      pos,
    );
  }
}

/** The attributes of a set whose indices are given, in ascending order. */
export function pickAttrs(attrs: Attrs, indices: readonly number[]): Attrs {
  if (indices.length === attrs.values.length) return attrs;
  const { ids, positions } = attrs.shape;
  return new Attrs(
    new Shape(
      indices.map((index) => ids[index]!),
      positions === undefined ? undefined : indices.map((index) => positions[index]!),
    ),
    indices.map((index) => attrs.values[index]!),
  );
}
