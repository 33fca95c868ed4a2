import type { AssertExpr, CallExpr, Expr, LambdaExpr, LetExpr } from './ast.js';
import { positionOf } from './ast.js';
import { formalsOrder, slotOrder } from './bind.js';
import { call1, call2, callFunction } from './call.js';
import { compileAttrs, inheritScope, planBindings } from './compile-attrs.js';
import { compileArithmetic, compileBinary, compileConcat } from './compile-operators.js';
import { compileHasAttr, compileSelect } from './compile-select.js';
import { compileVar, delayVar, readSlot } from './compile-variables.js';
import { explainOperands } from './equality.js';
import { NixError, traced } from './errors.js';
import { typeError } from './force.js';
import { positionValue } from './position-value.js';
import { showExpr } from './show-expr.js';
import {
  type Code,
  type Delay,
  type Env,
  Lambda,
  type LambdaCode,
  NixFloat,
  NixPath,
  Thunk,
  type Value,
} from './values.js';

function compileLambda(expr: LambdaExpr): Code {
  const formals = formalsOrder(expr);
  const sorted: LambdaExpr = formals === undefined ? expr : Object.assign(expr, { formals });
  const code: LambdaCode = {
    expr: sorted,
    body: (env) => {
      code.body = compile(expr.body);
      return code.body(env);
    },
    fallbacks:
      formals === undefined
        ? []
        : formals.list.map((formal) => (formal.fallback === undefined ? undefined : delay(formal.fallback))),
    plan: undefined,
  };
  return (env) => new Lambda(code, env);
}

function compileCall(expr: CallExpr): Code {
  const arithmetic = compileArithmetic(expr);
  if (arithmetic !== undefined) return arithmetic;
  const { pos } = expr;
  const callee = compile(expr.callee);
  const args = expr.args.map(delay);
  const [first, second, third] = args;
  switch (args.length) {
    case 1:
      return (env) => call1(callee(env), first!(env), pos);
    case 2:
      return (env) => call2(callee(env), first!(env), second!(env), pos);
    case 3:
      return (env) => callFunction(callee(env), [first!(env), second!(env), third!(env)], pos);
    default:
      return (env) => {
        const called = callee(env);
        return callFunction(
          called,
          args.map((argument) => argument(env)),
          pos,
        );
      };
  }
}

function compileLet(expr: LetExpr): Code {
  const body = compile(expr.body);
  const names = slotOrder(expr.attrs);
  const bindings = planBindings(expr.attrs, names);
  const inherit = inheritScope(expr.attrs);
  const count = bindings.length;
  return (env) => {
    const inner: Env = new Array(count + 1);
    inner[0] = env;
    const sources = inherit === undefined ? inner : inherit(inner);
    for (let i = 0; i < count; i++) {
      const { source, delay: make } = bindings[i]!;
      inner[i + 1] = make(source === 0 ? inner : source === 1 ? env : sources);
    }
    return body(inner);
  };
}

/** A condition: evaluates to a boolean or throws, saying what it was for. */
export function compileCondition(expr: Expr, context: string): (env: Env) => boolean {
  const code = compile(expr);
  const pos = positionOf(expr);
  return (env) => {
    let value: Value;
    try {
      value = code(env);
      if (typeof value === 'boolean') return value;
      throw typeError('a Boolean', value, pos);
    } catch (error) {
      throw traced(error, pos, context);
    }
  };
}

function compileAssert(expr: AssertExpr): Code {
  const condition = compileCondition(expr.condition, 'in the condition of the assert statement');
  const body = compile(expr.body);
  const equality =
    expr.condition.kind === 'binary' && expr.condition.operator === '==' ? expr.condition : undefined;
  return (env) => {
    if (condition(env)) return body(env);
    const shown = showExpr(expr.condition);
    if (equality !== undefined) {
      try {
        const left = compile(equality.left)(env);
        const right = compile(equality.right)(env);
        explainOperands(left, right, equality.pos);
      } catch (error) {
        if (error instanceof NixError && error.kind === 'assertion') {
          error.trace(expr.pos, `while evaluating the condition of the assertion '${shown}'`);
        }
        throw error;
      }
    }
    throw new NixError('assertion', `assertion '${shown}' failed`, expr.pos);
  };
}

/** Compiles an expression whose variables are bound to a function of the scope. */
export function compile(expr: Expr): Code {
  switch (expr.kind) {
    case 'int':
    case 'string': {
      const { value } = expr;
      return () => value;
    }
    case 'float': {
      const value = new NixFloat(expr.value);
      return () => value;
    }
    case 'path': {
      const value = new NixPath(expr.value);
      return () => value;
    }
    case 'var':
      return compileVar(expr);
    case 'inherit-from': {
      const { index, pos } = expr;
      return (env) => readSlot(env, index + 1, pos);
    }
    case 'select':
      return compileSelect(expr);
    case 'has-attr':
      return compileHasAttr(expr);
    case 'attrs':
      return compileAttrs(expr);
    case 'list': {
      const items = expr.items.map(delay);
      return (env) => items.map((item) => item(env));
    }
    case 'lambda':
      return compileLambda(expr);
    case 'call':
      return compileCall(expr);
    case 'let':
      return compileLet(expr);
    case 'with': {
      const scope = delay(expr.scope);
      const body = compile(expr.body);
      return (env) => body([env, scope(env)]);
    }
    case 'if': {
      const condition = compileCondition(expr.condition, 'while evaluating a branch condition');
      const consequent = lazily(expr.consequent);
      const alternative = lazily(expr.alternative);
      return (env) => (condition(env) ? consequent(env) : alternative(env));
    }
    case 'assert':
      return compileAssert(expr);
    case 'not': {
      const operand = compileCondition(expr.operand, "in the argument of '!'");
      return (env) => !operand(env);
    }
    case 'binary':
      return compileBinary(expr);
    case 'concat':
      return compileConcat(expr);
    case 'cur-pos':
      return () => positionValue(expr.pos);
  }
}

/** Code that is compiled when it first runs: most of a package set never does. */
export function lazily(expr: Expr): Code {
  let compiled: Code | undefined;
  return (env) => {
    compiled ??= compile(expr);
    return compiled(env);
  };
}

/** Compiles an expression to a function that promises its value: at once where that costs nothing. */
export function delay(expr: Expr): Delay {
  switch (expr.kind) {
    case 'int':
    case 'string':
    case 'float':
    case 'path':
    case 'lambda':
      return compile(expr);
    case 'var':
      return delayVar(expr);
    case 'list':
      return expr.items.length === 0 ? () => [] : delayCode(expr);
    case 'inherit-from':
    case 'select':
    case 'has-attr':
    case 'attrs':
    case 'call':
    case 'let':
    case 'with':
    case 'if':
    case 'assert':
    case 'not':
    case 'binary':
    case 'concat':
    case 'cur-pos':
      return delayCode(expr);
  }
}

function delayCode(expr: Expr): Delay {
  let code: Code | undefined;
  return (env) => {
    code ??= compileOnFirstRun(expr, (compiled) => {
      code = compiled;
    });
    return new Thunk(code, env);
  };
}

function compileOnFirstRun(expr: Expr, done: (code: Code) => void): Code {
  let compiled: Code | undefined;
  return (env) => {
    if (compiled === undefined) {
      compiled = compile(expr);
      done(compiled);
    }
    return compiled(env);
  };
}
