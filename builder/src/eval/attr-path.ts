import { Attrs } from './attrs.js';
import { autoCall } from './auto-call.js';
import { NixError } from './errors.js';
import { intern } from './symbols.js';
import { describeType } from './types.js';
import { force, type Slot } from './values.js';

/** Splits `a.b."c.d"` into names. */
export function parseAttrPath(path: string): string[] {
  const names: string[] = [];
  let current = '';
  for (let i = 0; i < path.length; i++) {
    if (path[i] === '.') {
      names.push(current);
      current = '';
    } else if (path[i] === '"') {
      const end = path.indexOf('"', i + 1);
      if (end < 0) throw new NixError('parse', `missing closing quote in selection path '${path}'`);
      current += path.slice(i + 1, end);
      i = end;
    } else current += path[i];
  }
  if (current !== '') names.push(current);
  return names;
}

/** Follows a path of attribute names and list indices, calling functions on the way with `args`. */
export function findAlongAttrPath(root: Slot, path: string, args: Attrs): Slot {
  let slot = root;
  for (const name of parseAttrPath(path)) {
    const value = force(autoCall(args, slot));
    const expected = (kind: string): NixError =>
      new NixError(
        'type',
        `the expression selected by the selection path '${path}' should be ${kind} but is ${describeType(value)}`,
      );
    if (/^[0-9]+$/.test(name)) {
      if (!Array.isArray(value)) throw expected('a list');
      const item = value[Number(name)];
      if (item === undefined) {
        throw new NixError('other', `list index ${name} in selection path '${path}' is out of range`);
      }
      slot = item;
      continue;
    }
    if (!(value instanceof Attrs)) throw expected('a set');
    if (name === '') throw new NixError('other', `empty attribute name in selection path '${path}'`);
    const found = value.get(intern(name));
    if (found === undefined) {
      throw new NixError('other', `attribute '${name}' in selection path '${path}' not found`).suggest(
        value.names(),
        name,
      );
    }
    slot = found;
  }
  return slot;
}
