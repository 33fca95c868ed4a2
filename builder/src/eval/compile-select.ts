import type { AttrName, HasAttrExpr, SelectExpr } from './ast.js';
import { positionOf } from './ast.js';
import { Attrs, type Shape } from './attrs.js';
import { compile, lazily } from './compile.js';
import { NixError, traced } from './errors.js';
import { forceStringNoContext, typeError } from './force.js';
import { printIdentifier } from './literal.js';
import { noPos, originOf, type Pos } from './positions.js';
import { showExpr } from './show-expr.js';
import { intern, symbolName } from './symbols.js';
import { Callable, type Code, type Env, force, type Slot, Thunk, type Value } from './values.js';

type NameOf = (env: Env) => number;

function compileName(name: AttrName): NameOf {
  if (name.symbol !== undefined) {
    const { symbol } = name;
    return () => symbol;
  }
  const code = compile(name.expr);
  const pos = positionOf(name.expr);
  return (env) => intern(forceStringNoContext(code(env), pos, 'while evaluating an attribute name'));
}

/** A path as it was taken: dynamic names by their value, where they have one. */
function showTakenPath(path: readonly AttrName[], names: readonly NameOf[], env: Env): string {
  return path
    .map((name, i) => {
      try {
        return printIdentifier(symbolName(names[i]!(env)));
      } catch {
        return `"\${${showExpr(name.expr!)}}"`;
      }
    })
    .join('.');
}

function missing(attrs: Attrs, id: number): NixError {
  const name = symbolName(id);
  return new NixError('missing-attribute', `attribute '${printIdentifier(name)}' missing`).suggest(
    attrs.names(),
    name,
  );
}

function notASet(value: Value, pos: Pos): NixError {
  return typeError('a set', value).trace(pos, 'while selecting an attribute');
}

/** Reads a slot of a set, and keeps the value there in place of its thunk. */
function readAttr(values: Slot[], index: number, pos: Pos): Value {
  const slot = values[index]!;
  if (!(slot instanceof Thunk)) return slot;
  const value = slot.force(pos);
  if (!(value instanceof Callable)) values[index] = value;
  return value;
}

interface Site {
  readonly expr: SelectExpr;
  readonly names: readonly NameOf[];
}

/** Adds what every failing selection says: where the attribute was defined, and where it was selected. */
function selectionError(error: unknown, site: Site, env: Env, at: { attrPos: Pos; taken: number }): Error {
  if (!(error instanceof NixError)) return error as Error;
  const { expr, names } = site;
  if (at.attrPos !== noPos && originOf(at.attrPos)?.kind !== 'internal') {
    const path = showTakenPath(expr.path.slice(0, at.taken), names, env);
    error.trace(at.attrPos, `from the definition of '${path}'`);
  }
  return error.trace(expr.pos, `while evaluating the attribute '${showTakenPath(expr.path, names, env)}'`);
}

function compileTarget(expr: SelectExpr): Code {
  const code = compile(expr.target);
  const pos = positionOf(expr.target);
  return (env) => {
    try {
      return code(env);
    } catch (error) {
      throw traced(error, pos, 'while selecting an attribute');
    }
  };
}

/** `target.name` with a plain name and no default: the most common of all expressions. */
function compileSimpleSelect(expr: SelectExpr, id: number): Code {
  const target = compile(expr.target);
  const targetPos = positionOf(expr.target);
  const site: Site = { expr, names: [compileName(expr.path[0]!)] };
  const { pos } = expr;
  let knownShape: Shape | undefined;
  let knownIndex = 0;
  return (env) => {
    let value: Value;
    try {
      value = target(env);
    } catch (error) {
      throw traced(error, targetPos, 'while selecting an attribute');
    }
    if (!(value instanceof Attrs)) {
      throw selectionError(notASet(value, pos), site, env, { attrPos: noPos, taken: 0 });
    }
    const { shape, values } = value;
    let index: number;
    if (shape === knownShape) index = knownIndex;
    else {
      index = shape.find(id);
      if (index < 0) {
        throw selectionError(missing(value, id), site, env, { attrPos: noPos, taken: 0 });
      }
      knownShape = shape;
      knownIndex = index;
    }
    const slot = values[index]!;
    if (!(slot instanceof Thunk)) return slot;
    try {
      return readAttr(values, index, shape.position(index) || pos);
    } catch (error) {
      throw selectionError(error, site, env, { attrPos: shape.position(index), taken: 1 });
    }
  };
}

/** Compiles `target.a.b`, with or without `or default`. */
export function compileSelect(expr: SelectExpr): Code {
  const only = expr.path[0]!;
  if (expr.fallback === undefined && expr.path.length === 1 && only.symbol !== undefined) {
    return compileSimpleSelect(expr, only.symbol);
  }
  const target = compileTarget(expr);
  const names = expr.path.map(compileName);
  const site: Site = { expr, names };
  const fallback = expr.fallback === undefined ? undefined : lazily(expr.fallback);
  const { pos } = expr;
  const last = names.length - 1;
  return (env) => {
    let value = target(env);
    const at = { attrPos: noPos, taken: 0 };
    try {
      for (let i = 0; i <= last; i++) {
        const id = names[i]!(env);
        const isSet = value instanceof Attrs;
        const index = isSet ? (value as Attrs).shape.find(id) : -1;
        if (index < 0) {
          if (fallback !== undefined) return fallback(env);
          throw isSet ? missing(value as Attrs, id) : notASet(value, pos);
        }
        const attrs = value as Attrs;
        at.attrPos = attrs.shape.position(index);
        at.taken = i + 1;
        value = readAttr(attrs.values, index, i === last ? at.attrPos || pos : pos);
      }
      return value;
    } catch (error) {
      throw selectionError(error, site, env, at);
    }
  };
}

/** Compiles `target ? a.b`. */
export function compileHasAttr(expr: HasAttrExpr): Code {
  const target = compile(expr.target);
  const pos = positionOf(expr.target);
  const names = expr.path.map(compileName);
  const last = names.length - 1;
  return (env) => {
    let value: Value;
    try {
      value = target(env);
    } catch (error) {
      throw traced(error, pos, "in the argument of '?'");
    }
    for (let i = 0; ; i++) {
      const id = names[i]!(env);
      const slot = value instanceof Attrs ? value.get(id) : undefined;
      if (slot === undefined) return false;
      if (i === last) return true;
      value = force(slot, pos);
    }
  };
}
