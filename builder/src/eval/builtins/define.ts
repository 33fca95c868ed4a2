import { PrimOp, type PrimOpFunction } from '../values.js';

/** A builtin under the name it has in the outermost scope: `__x` is `builtins.x` only. */
export interface Builtin {
  readonly globalName: string;
  readonly primop: PrimOp;
}

/** Defines a builtin function. */
export function define(globalName: string, arity: number, run: PrimOpFunction): Builtin {
  return { globalName, primop: new PrimOp(globalName.replace(/^__/, ''), arity, run) };
}

/** Defines a builtin whose errors do not say that it was being called. */
export function defineUntraced(globalName: string, arity: number, run: PrimOpFunction): Builtin {
  return { globalName, primop: new PrimOp(globalName.replace(/^__/, ''), arity, run, false) };
}
