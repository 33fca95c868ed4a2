import { Attrs, AttrsBuilder, emptyAttrs } from '../attrs.js';
import { NixError } from '../errors.js';
import { typeName } from '../types.js';
import { Callable, force, Lambda, type Slot, type Value } from '../values.js';
import { type Builtin, define } from './define.js';

const predicate = (globalName: string, type: string): Builtin =>
  define(globalName, 1, (slot) => typeName(force(slot!)) === type);

function functionArgs(slot: Slot): Value {
  const value = force(slot);
  if (!(value instanceof Callable)) throw new NixError('type', "'functionArgs' requires a function");
  const formals = value instanceof Lambda ? value.code.expr.formals : undefined;
  if (formals === undefined) return emptyAttrs;
  const builder = new AttrsBuilder();
  for (const formal of formals.list) builder.add(formal.name, formal.fallback !== undefined, formal.pos);
  return builder.finish();
}

/** Builtins that look at the type of a value. */
export function typeBuiltins(): Builtin[] {
  return [
    define('__typeOf', 1, (slot) => typeName(force(slot!))),
    predicate('isNull', 'null'),
    predicate('__isFunction', 'lambda'),
    predicate('__isInt', 'int'),
    predicate('__isFloat', 'float'),
    predicate('__isString', 'string'),
    predicate('__isBool', 'bool'),
    predicate('__isPath', 'path'),
    predicate('__isList', 'list'),
    define('__isAttrs', 1, (slot) => force(slot!) instanceof Attrs),
    define('__functionArgs', 1, functionArgs),
  ];
}
