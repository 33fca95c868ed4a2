import { Attrs } from './attrs.js';
import { isInt, NixFloat, NixPath, NixString, PrimOp, PrimOpApp, type Value } from './values.js';

/** The name `builtins.typeOf` gives a value's type. */
export function typeName(value: Value): string {
  if (isInt(value)) return 'int';
  if (typeof value === 'boolean') return 'bool';
  if (typeof value === 'string' || value instanceof NixString) return 'string';
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'list';
  if (value instanceof Attrs) return 'set';
  if (value instanceof NixPath) return 'path';
  if (value instanceof NixFloat) return 'float';
  return 'lambda';
}

/** A value's type with its article, as most messages name it. */
export function typeTitle(value: Value): string {
  switch (typeName(value)) {
    case 'int':
      return 'an integer';
    case 'bool':
      return 'a Boolean';
    case 'string':
      return 'a string';
    case 'null':
      return 'null';
    case 'list':
      return 'a list';
    case 'set':
      return 'a set';
    case 'path':
      return 'a path';
    case 'float':
      return 'a float';
    default:
      return 'a function';
  }
}

/** A value's type in more detail: strings with context and builtins are told apart. */
export function describeType(value: Value): string {
  if (value instanceof NixString) return 'a string with context';
  if (value instanceof PrimOp) return `the built-in function '${value.name}'`;
  if (value instanceof PrimOpApp) return `the partially applied built-in function '${value.primop.name}'`;
  return typeTitle(value);
}
