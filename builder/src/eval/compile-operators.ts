import type { BinaryExpr, CallExpr, ConcatExpr, Expr } from './ast.js';
import { positionOf } from './ast.js';
import { Attrs, emptyAttrs, updateAttrs } from './attrs.js';
import { call2 } from './call.js';
import { type Coercion, coerceToString, makeString } from './coerce.js';
import { compile, compileCondition } from './compile.js';
import { ContextCollector } from './context.js';
import { equalOperands } from './equality.js';
import { NixError, traced } from './errors.js';
import { forceList, typeError } from './force.js';
import { canonicalPath } from './parser.js';
import { noPos, type Pos } from './positions.js';
import { describeType } from './types.js';
import {
  type Code,
  type Env,
  fitsInt64,
  isInt,
  type List,
  NixFloat,
  NixPath,
  normalizeInt,
  PrimOp,
  type Value,
} from './values.js';

interface Operand {
  readonly code: Code;
  readonly pos: Pos;
  readonly context: string;
}

function operand(expr: Expr, context: string): Operand {
  return { code: compile(expr), pos: positionOf(expr), context };
}

function evaluate(part: Operand, env: Env): Value {
  try {
    return part.code(env);
  } catch (error) {
    throw traced(error, part.pos, part.context);
  }
}

function compileEquality(expr: BinaryExpr): Code {
  const { operator, pos } = expr;
  const left = operand(expr.left, `in the left operand of '${operator}'`);
  const right = operand(expr.right, `in the right operand of '${operator}'`);
  if (operator === '==') return (env) => equalOperands(evaluate(left, env), evaluate(right, env), pos);
  return (env) => !equalOperands(evaluate(left, env), evaluate(right, env), pos);
}

function evaluateSet(part: Operand, env: Env): Attrs {
  try {
    const value = part.code(env);
    if (value instanceof Attrs) return value;
    throw typeError('a set', value);
  } catch (error) {
    throw traced(error, part.pos, part.context);
  }
}

/** The operands of a chain of `//`, from left to right. */
function updateOperands(expr: Expr, context: string): Operand[] {
  if (expr.kind !== 'binary' || expr.operator !== '//') return [operand(expr, context)];
  return [
    ...updateOperands(expr.left, "in the left operand of '//'"),
    ...updateOperands(expr.right, "in the right operand of '//'"),
  ];
}

function compileUpdate(expr: BinaryExpr): Code {
  const operands = updateOperands(expr, '');
  if (operands.length === 2) {
    const [left, right] = operands as [Operand, Operand];
    return (env) => {
      const second = evaluateSet(right, env);
      return updateAttrs(evaluateSet(left, env), second);
    };
  }
  return (env) => {
    const sets = new Array<Attrs>(operands.length);
    for (let i = operands.length - 1; i >= 0; i--) sets[i] = evaluateSet(operands[i]!, env);
    return sets.reduce(updateAttrs, emptyAttrs);
  };
}

/** Joins lists; a single one that is not empty is given back as it is. */
export function concatLists(lists: readonly List[]): List {
  const filled = lists.filter((list) => list.length > 0);
  if (filled.length === 1) return filled[0]!;
  const result: List = [];
  for (const list of filled) for (const item of list) result.push(item);
  return result;
}

function compileListConcat(expr: BinaryExpr): Code {
  const left = operand(expr.left, "in the left operand of '++'");
  const right = operand(expr.right, "in the right operand of '++'");
  const context = 'while evaluating one of the elements to concatenate';
  const { pos } = expr;
  return (env) => {
    const first = evaluate(left, env);
    const second = evaluate(right, env);
    const a = forceList(first, pos, context);
    const b = forceList(second, pos, context);
    if (a.length === 0) return b;
    return b.length === 0 ? a : a.concat(b);
  };
}

/** Compiles an infix operator that is not sugar for a builtin. */
export function compileBinary(expr: BinaryExpr): Code {
  switch (expr.operator) {
    case '==':
    case '!=':
      return compileEquality(expr);
    case '&&': {
      const left = compileCondition(expr.left, "in the left operand of '&&'");
      const right = compileCondition(expr.right, "in the right operand of '&&'");
      return (env) => left(env) && right(env);
    }
    case '||': {
      const left = compileCondition(expr.left, "in the left operand of '||'");
      const right = compileCondition(expr.right, "in the right operand of '||'");
      return (env) => left(env) || right(env);
    }
    case '->': {
      const left = compileCondition(expr.left, "in the left operand of '->'");
      const right = compileCondition(expr.right, "in the right operand of '->'");
      return (env) => !left(env) || right(env);
    }
    case '//':
      return compileUpdate(expr);
    case '++':
      return compileListConcat(expr);
  }
}

/** Adds two integers; on overflow throws what Nix says. */
export function addInts(a: number | bigint, b: number | bigint, pos: Pos): number | bigint {
  if (typeof a === 'number' && typeof b === 'number') {
    const sum = a + b;
    if (Number.isSafeInteger(sum)) return sum;
  }
  const exact = BigInt(a) + BigInt(b);
  if (!fitsInt64(exact)) throw new NixError('eval', `integer overflow in adding ${a} + ${b}`, pos);
  return normalizeInt(exact);
}

/** A sum of numbers as `+` computes it: float as soon as one part is. */
function addNumber(total: Value, value: Value, pos: Pos): Value {
  if (isInt(total)) {
    if (isInt(value)) return addInts(total, value, pos);
    if (value instanceof NixFloat) return new NixFloat(Number(total) + value.value);
    throw new NixError('eval', `cannot add ${describeType(value)} to an integer`, pos);
  }
  const float = total as NixFloat;
  if (isInt(value)) return new NixFloat(float.value + Number(value));
  if (value instanceof NixFloat) return new NixFloat(float.value + value.value);
  throw new NixError('eval', `cannot add ${describeType(value)} to a float`, pos);
}

interface Part extends Operand {
  /** Where the part stands, which an interpolation's own expression may not know. */
  readonly at: Pos;
  readonly toString: Coercion;
  readonly toPath: Coercion;
}

function joinText(parts: readonly Part[], first: Value, env: Env, forceString: boolean, pos: Pos): Value {
  const isPath = !forceString && first instanceof NixPath;
  const collector = new ContextCollector();
  let text = '';
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i]!;
    const value = i === 0 ? first : evaluate(part, env);
    text +=
      typeof value === 'string'
        ? value
        : coerceToString(value, collector, isPath ? part.toPath : part.toString);
  }
  if (!isPath) return makeString(text, collector);
  if (collector.context !== undefined) {
    throw new NixError('eval', 'a string that refers to a store path cannot be appended to a path', pos);
  }
  return new NixPath(canonicalPath(text));
}

/** Compiles `+` and strings with interpolations. */
export function compileConcat(expr: ConcatExpr): Code {
  const { forceString, pos } = expr;
  const error = 'while evaluating a path segment';
  const parts: Part[] = expr.parts.map((part, i) => {
    const keepSlash = i === 0 && !forceString;
    return {
      ...operand(part.expr, "in an operand of '+'"),
      at: part.pos,
      toString: { error, pos: part.pos, copy: true, keepSlash },
      toPath: { error, pos: part.pos, copy: false, keepSlash },
    };
  });
  const head = parts[0]!;
  return (env) => {
    const first = evaluate(head, env);
    if (forceString || !(isInt(first) || first instanceof NixFloat)) {
      return joinText(parts, first, env, forceString, pos);
    }
    let total: Value = first;
    for (let i = 1; i < parts.length; i++) {
      const part = parts[i]!;
      total = addNumber(total, evaluate(part, env), part.at);
    }
    return total;
  };
}

type Fast = (a: number, b: number) => Value | undefined;

const safe = (value: number): number | undefined => (Number.isSafeInteger(value) ? value + 0 : undefined);

const fastPaths: Readonly<Record<string, Fast>> = {
  sub: (a, b) => safe(a - b),
  mul: (a, b) => safe(a * b),
  div: (a, b) => (b === 0 ? undefined : Math.trunc(a / b) + 0),
  lessThan: (a, b) => a < b,
};

/**
 * Operators that are sugar for a builtin (`-`, `*`, `/`, `<`): where the name still means the builtin, the
 * operands are evaluated in place instead of being handed over as thunks. Undefined for any other call.
 */
export function compileArithmetic(expr: CallExpr): Code | undefined {
  const { callee, args, pos } = expr;
  if (callee.kind !== 'var' || callee.constant === undefined || callee.pos !== noPos || args.length !== 2) {
    return undefined;
  }
  const primop = callee.constant.value;
  if (!(primop instanceof PrimOp)) return undefined;
  const fast = fastPaths[primop.name];
  if (fast === undefined) return undefined;
  const left = compile(args[0]!);
  const right = compile(args[1]!);
  const context = `while calling the '${primop.name}' builtin`;
  return (env) => {
    let a: Value;
    let b: Value;
    try {
      a = left(env);
      b = right(env);
    } catch (error) {
      throw traced(error, pos, context);
    }
    if (typeof a === 'number' && typeof b === 'number') {
      const result = fast(a, b);
      if (result !== undefined) return result;
    }
    return call2(primop, a, b, pos);
  };
}
