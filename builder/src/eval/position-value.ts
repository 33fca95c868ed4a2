import { Attrs, Shape } from './attrs.js';
import { delayed } from './call.js';
import { originOf, type Pos, resolvePosition } from './positions.js';
import { sym } from './symbols.js';
import type { Slot, Value } from './values.js';

const fields = [sym.file, sym.line, sym.column] as const;
let shape: Shape | undefined;
let order: readonly number[] = [];

/** A position as the set `{ file, line, column }`, or null where no file is behind it. */
export function positionValue(pos: Pos): Value {
  const origin = originOf(pos);
  if (origin?.kind !== 'file') return null;
  if (shape === undefined) {
    order = fields.map((_, i) => i).sort((a, b) => fields[a]! - fields[b]!);
    shape = new Shape(
      order.map((i) => fields[i]!),
      undefined,
      true,
    );
  }
  // Lines are counted only when asked for: it takes reading the file.
  const values: Slot[] = [
    origin.path,
    delayed(() => resolvePosition(pos)!.line),
    delayed(() => resolvePosition(pos)!.column),
  ];
  return new Attrs(
    shape,
    order.map((i) => values[i]!),
  );
}
