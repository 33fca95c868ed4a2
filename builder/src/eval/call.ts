import { Attrs } from './attrs.js';
import { NixError, traced } from './errors.js';
import { forceAttrs, stackOverflow } from './force.js';
import { printIdentifier } from './literal.js';
import { machine } from './machine.js';
import { noPos, type Pos } from './positions.js';
import { printForError } from './print-value.js';
import { sym, symbolName } from './symbols.js';
import { describeType } from './types.js';
import {
  applications,
  type Code,
  type Env,
  force,
  Lambda,
  type LambdaCode,
  PrimOp,
  PrimOpApp,
  type Slot,
  Thunk,
  type Value,
} from './values.js';

/** What a function is called in messages: its quoted name, or that it has none. */
function lambdaTitle(code: LambdaCode): string {
  const { name } = code.expr;
  return name === undefined ? 'anonymous lambda' : `'${printIdentifier(symbolName(name))}'`;
}

function lambdaError(error: unknown, code: LambdaCode, pos: Pos): Error {
  if (machine.showTrace && error instanceof NixError) {
    error.trace(code.expr.pos, `while calling ${lambdaTitle(code)}`);
    if (pos !== noPos) error.trace(pos, 'from call site');
  }
  return error as Error;
}

function argumentError(lambda: Lambda, pos: Pos, text: string): NixError {
  const { name, pos: definition } = lambda.code.expr;
  const title = name === undefined ? 'anonymous lambda' : printIdentifier(symbolName(name));
  return new NixError('type', `function '${title}' called ${text}`, definition).trace(pos, 'from call site');
}

/** Finds the formal arguments in sets of one shape, or throws what is missing or too much. */
function planFormals(lambda: Lambda, attrs: Attrs, pos: Pos): readonly number[] {
  const { expr, fallbacks } = lambda.code;
  const formals = expr.formals!;
  const indices: number[] = [];
  let used = 0;
  formals.list.forEach((formal, i) => {
    const index = attrs.shape.find(formal.name);
    if (index >= 0) used++;
    else if (fallbacks[i] === undefined) {
      const name = printIdentifier(symbolName(formal.name));
      throw argumentError(lambda, pos, `without required argument '${name}'`);
    }
    indices.push(index);
  });
  if (!formals.ellipsis && used !== attrs.size) {
    const known = new Set(formals.list.map((formal) => formal.name));
    const extra = attrs.shape.ids.find((id) => !known.has(id))!;
    const names = formals.list.map((formal) => symbolName(formal.name));
    throw argumentError(
      lambda,
      pos,
      `with unexpected argument '${printIdentifier(symbolName(extra))}'`,
    ).suggest(names, symbolName(extra));
  }
  return indices;
}

function bindFormals(lambda: Lambda, argument: Slot, pos: Pos): Env {
  const { code } = lambda;
  const { expr, fallbacks } = code;
  let attrs: Attrs;
  try {
    attrs = forceAttrs(argument, expr.pos, 'while evaluating the value passed for the lambda argument');
  } catch (error) {
    throw pos === noPos ? error : traced(error, pos, 'from call site');
  }
  let { plan } = code;
  if (plan === undefined || plan.shape !== attrs.shape) {
    plan = { shape: attrs.shape, indices: planFormals(lambda, attrs, pos) };
    code.plan = plan;
  }
  const { indices } = plan;
  const count = indices.length;
  const first = expr.argument === undefined ? 1 : 2;
  const env: Env = new Array(first + count);
  env[0] = lambda.env;
  if (first === 2) env[1] = argument;
  const { values } = attrs;
  for (let i = 0; i < count; i++) {
    const index = indices[i]!;
    env[first + i] = index >= 0 ? values[index] : fallbacks[i]!(env);
  }
  return env;
}

function callLambda(lambda: Lambda, argument: Slot, pos: Pos): Value {
  const { code } = lambda;
  lambda.evaluated = true;
  const env: Env =
    code.expr.formals === undefined ? [lambda.env, argument] : bindFormals(lambda, argument, pos);
  try {
    return code.body(env);
  } catch (error) {
    throw lambdaError(error, code, pos);
  }
}

function runPrimOp(primop: PrimOp, args: readonly Slot[], pos: Pos): Value {
  try {
    switch (args.length) {
      case 1:
        return primop.run(args[0]!);
      case 2:
        return primop.run(args[0]!, args[1]!);
      default:
        return primop.run(...args);
    }
  } catch (error) {
    if (primop.traced) throw traced(error, pos, `while calling the '${primop.name}' builtin`);
    throw error;
  }
}

function callFunctor(functor: Attrs, argument: Slot, pos: Pos): Value {
  const slot = functor.get(sym.functor)!;
  try {
    return callFunction(force(slot, pos), [functor, argument], functor.positionOf(sym.functor));
  } catch (error) {
    throw traced(error, pos, "while calling a functor (an attribute set with a '__functor' attribute)");
  }
}

/** Applies what is not a function literal to one or more arguments of `args` from `at`; gives how many it took. */
function applyOther(
  callee: Value,
  args: readonly Slot[],
  at: number,
  pos: Pos,
): { value: Value; used: number } {
  const left = args.length - at;
  if (callee instanceof PrimOp) {
    if (left < callee.arity) return { value: new PrimOpApp(callee, args.slice(at)), used: left };
    return { value: runPrimOp(callee, args.slice(at, at + callee.arity), pos), used: callee.arity };
  }
  if (callee instanceof PrimOpApp) {
    const { primop } = callee;
    const missing = primop.arity - callee.args.length;
    if (left < missing) {
      return { value: new PrimOpApp(primop, [...callee.args, ...args.slice(at)]), used: left };
    }
    return {
      value: runPrimOp(primop, [...callee.args, ...args.slice(at, at + missing)], pos),
      used: missing,
    };
  }
  if (callee instanceof Attrs && callee.has(sym.functor)) {
    return { value: callFunctor(callee, args[at]!, pos), used: 1 };
  }
  throw new NixError(
    'type',
    `attempt to call something which is not a function but ${describeType(callee)}: ${printForError(callee)}`,
    pos,
  );
}

/** Applies a function to arguments. `pos` is the place of the call, for traces. */
export function callFunction(callee: Value, args: readonly Slot[], pos: Pos): Value {
  if (machine.depth > machine.maxDepth) throw stackOverflow(pos);
  machine.depth++;
  let current = callee;
  for (let at = 0; at < args.length; ) {
    if (current instanceof Lambda) current = callLambda(current, args[at++]!, pos);
    else {
      const { value, used } = applyOther(current, args, at, pos);
      current = value;
      at += used;
    }
  }
  machine.depth--;
  return current;
}

/** Applies a function to one argument. */
export function call1(callee: Value, argument: Slot, pos: Pos): Value {
  if (machine.depth > machine.maxDepth) throw stackOverflow(pos);
  machine.depth++;
  let result: Value;
  if (callee instanceof Lambda) result = callLambda(callee, argument, pos);
  else if (callee instanceof PrimOp && callee.arity === 1) {
    try {
      result = callee.run(argument);
    } catch (error) {
      throw callee.traced ? traced(error, pos, `while calling the '${callee.name}' builtin`) : error;
    }
  } else result = applyOther(callee, [argument], 0, pos).value;
  machine.depth--;
  return result;
}

/** Applies a function to two arguments. */
export function call2(callee: Value, first: Slot, second: Slot, pos: Pos): Value {
  if (callee instanceof PrimOp && callee.arity === 2) {
    if (machine.depth > machine.maxDepth) throw stackOverflow(pos);
    machine.depth++;
    let result: Value;
    try {
      result = callee.run(first, second);
    } catch (error) {
      throw callee.traced ? traced(error, pos, `while calling the '${callee.name}' builtin`) : error;
    }
    machine.depth--;
    return result;
  }
  return callFunction(callee, [first, second], pos);
}

const applyOne: Code = (payload, pos = noPos) =>
  call1(force(payload[0] as Slot, pos), payload[1] as Slot, pos);

const applyTwo: Code = (payload, pos = noPos) =>
  callFunction(force(payload[0] as Slot, pos), [payload[1] as Slot, payload[2] as Slot], pos);

applications.add(applyOne);
applications.add(applyTwo);

/** The application of a function to an argument, not evaluated yet. */
export function delayCall(callee: Slot, argument: Slot): Thunk {
  return new Thunk(applyOne, [callee, argument]);
}

/** The application of a function to two arguments, not evaluated yet. */
export function delayCall2(callee: Slot, first: Slot, second: Slot): Thunk {
  return new Thunk(applyTwo, [callee, first, second]);
}

/** A slot for `compute`, called when the value is first needed. */
export function delayed(compute: () => Value): Thunk {
  return new Thunk(() => compute(), []);
}

/** Where a value says it is from, without evaluating it: its literal, or the function it is an application of. */
export function ownPosition(slot: Slot): Pos {
  const value = slot instanceof Thunk ? (slot.peek() ?? slot.applied) : slot;
  if (value instanceof Attrs) return value.pos;
  if (value instanceof Lambda) return value.evaluated ? value.code.expr.pos : noPos;
  return value instanceof Thunk ? ownPosition(value) : noPos;
}
