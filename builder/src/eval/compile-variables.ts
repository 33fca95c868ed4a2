import type { VarExpr } from './ast.js';
import { NixError } from './errors.js';
import { forceAttrs } from './force.js';
import { printIdentifier } from './literal.js';
import type { Pos } from './positions.js';
import { symbolName } from './symbols.js';
import { Callable, type Code, type Delay, type Env, type Slot, Thunk, type Value } from './values.js';

/** The scope `level` scopes out. */
function climb(env: Env, level: number): Env {
  let current = env;
  for (let i = level; i > 0; i--) current = current[0] as Env;
  return current;
}

/** Reads a variable, and keeps its value in place of the thunk so that the next reader need not ask it. */
export function readSlot(env: Env, index: number, pos: Pos): Value {
  const slot = env[index] as Slot;
  if (!(slot instanceof Thunk)) return slot;
  const value = slot.force(pos);
  if (!(value instanceof Callable)) env[index] = value;
  return value;
}

function compileWithVar(expr: VarExpr): Code {
  const { name, pos } = expr;
  const withs = expr.withs!;
  return (env) => {
    for (const { level, pos: withPos } of withs) {
      const scope = climb(env, level);
      const attrs = forceAttrs(
        scope[1] as Slot,
        withPos,
        'while evaluating the first subexpression of a with expression',
      );
      scope[1] = attrs;
      const index = attrs.shape.find(name);
      if (index >= 0) return readSlot(attrs.values as Env, index, pos);
    }
    throw new NixError(
      'undefined-variable',
      `undefined variable '${printIdentifier(symbolName(name))}'`,
      pos,
    );
  };
}

/** Compiles a variable to a read of where it was bound to. */
export function compileVar(expr: VarExpr): Code {
  const { pos, level, index, constant, withs } = expr;
  if (withs !== undefined) return compileWithVar(expr);
  if (constant !== undefined) return () => constant.value;
  switch (level) {
    case 0:
      return (env) => readSlot(env, index, pos);
    case 1:
      return (env) => readSlot(env[0] as Env, index, pos);
    case 2:
      return (env) => readSlot((env[0] as Env)[0] as Env, index, pos);
    case 3:
      return (env) => readSlot(((env[0] as Env)[0] as Env)[0] as Env, index, pos);
    default:
      return (env) => readSlot(climb(env, level), index, pos);
  }
}

/** The same as a promise: what the slot holds, or a thunk where it may not be filled yet. */
export function delayVar(expr: VarExpr): Delay {
  const { level, index, constant, withs } = expr;
  if (constant !== undefined) return () => constant.value;
  const code = compileVar(expr);
  if (withs !== undefined) return (env) => new Thunk(code, env);
  // The slot may not be filled yet while the scope it is in is being made.
  switch (level) {
    case 0:
      return (env) => (env[index] as Slot | undefined) ?? delayEmpty(env, index, code);
    case 1:
      return (env) => ((env[0] as Env)[index] as Slot | undefined) ?? delayEmpty(env, index, code, 1);
    default:
      return (env) => (climb(env, level)[index] as Slot | undefined) ?? delayEmpty(env, index, code, level);
  }
}

/** Null is a value, and the one that `??` mistakes for an unfilled slot. */
function delayEmpty(env: Env, index: number, code: Code, level = 0): Slot {
  return climb(env, level)[index] === null ? null : new Thunk(code, env);
}
