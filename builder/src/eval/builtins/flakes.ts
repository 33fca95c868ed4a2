import { AttrsBuilder } from '../attrs.js';
import { fromByteText, toByteText } from '../byte-text.js';
import { getFlake } from '../call-flake.js';
import { NixError } from '../errors.js';
import { type FlakeRef, formatFlakeRef, isLocked, parseFlakeRef } from '../flake-ref.js';
import { forceAttrs, forceStringNoContext } from '../force.js';
import { localRef, readFlakeRef } from '../local-flake.js';
import { machine } from '../machine.js';
import { noPos } from '../positions.js';
import { realisePath } from '../realise.js';
import { intern, symbolName } from '../symbols.js';
import { describeType } from '../types.js';
import { force, isInt, isString, NixPath, type Slot, stringText, type Value } from '../values.js';
import { type Builtin, define } from './define.js';

function parse(text: string, read: (text: string) => FlakeRef | undefined = parseFlakeRef): FlakeRef {
  const ref = read(fromByteText(text));
  if (ref === undefined) throw new NixError('other', `'${text}' is not a valid URL`);
  return ref;
}

function getFlakeBuiltin(slot: Slot): Value {
  const value = force(slot);
  if (value instanceof NixPath)
    return getFlake(localRef({ type: 'path', path: fromByteText(realisePath(value)) }));
  const text = forceStringNoContext(
    value,
    noPos,
    'while evaluating the argument passed to builtins.getFlake',
  );
  const ref = parse(text, readFlakeRef);
  if (machine.settings.pureEval && !isLocked(ref)) {
    throw new NixError(
      'other',
      `cannot call 'getFlake' on unlocked flake reference '${text}' (use --impure to override)`,
    );
  }
  return getFlake(ref);
}

function parseFlakeRefBuiltin(slot: Slot): Value {
  const ref = parse(
    forceStringNoContext(slot, noPos, 'while evaluating the argument passed to builtins.parseFlakeRef'),
  );
  const builder = new AttrsBuilder();
  for (const [name, value] of Object.entries(ref)) {
    builder.add(intern(name), typeof value === 'string' ? toByteText(value) : value);
  }
  return builder.finish();
}

function flakeRefToString(slot: Slot): Value {
  const attrs = forceAttrs(slot, noPos, 'while evaluating the argument passed to builtins.flakeRefToString');
  const ref: Record<string, string | number | boolean> = {};
  attrs.shape.ids.forEach((id, i) => {
    const name = symbolName(id);
    const value = force(attrs.values[i]!, attrs.shape.position(i));
    if (isInt(value)) {
      if (value < 0) {
        throw new NixError('eval', `negative value given for flake ref attr ${name}: ${value}`);
      }
      ref[name] = Number(value);
    } else if (typeof value === 'boolean') ref[name] = value;
    else if (isString(value)) ref[name] = fromByteText(stringText(value));
    else {
      throw new NixError(
        'eval',
        `flake reference attribute sets may only contain integers, Booleans, and strings, but attribute '${name}' is ${describeType(value)}`,
      );
    }
  });
  return toByteText(formatFlakeRef(ref));
}

/** Builtins on flakes. */
export function flakeBuiltins(): Builtin[] {
  return [
    define('__getFlake', 1, (slot) => getFlakeBuiltin(slot!)),
    define('__parseFlakeRef', 1, (slot) => parseFlakeRefBuiltin(slot!)),
    define('__flakeRefToString', 1, (slot) => flakeRefToString(slot!)),
  ];
}
