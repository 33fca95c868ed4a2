import type { LambdaExpr } from './ast.js';
import type { Attrs } from './attrs.js';
import type { Context } from './context.js';
import { NixError } from './errors.js';
import { noPos, type Pos } from './positions.js';

/**
 * Nix values as JavaScript ones: integers are numbers while they are safe integers and bigints beyond, strings
 * without context are strings of bytes, lists are arrays. Everything else has a class here or in attrs.ts.
 */
export type Value =
  | number
  | bigint
  | boolean
  | null
  | string
  | NixString
  | NixFloat
  | NixPath
  | Attrs
  | List
  | Lambda
  | PrimOp
  | PrimOpApp;

/** What a variable, list element or attribute holds: a value, or a promise of one. */
export type Slot = Value | Thunk;

export type List = Slot[];

/** A scope at run time: the enclosing scope at index 0, then the slots of its variables. */
export type Env = (Slot | Env | undefined)[];

/** A compiled expression. `pos` is where the value was asked for, which only applications care about. */
export type Code = (env: Env, pos?: Pos) => Value;

/** A compiled expression that need not be evaluated yet. */
export type Delay = (env: Env) => Slot;

/** A string that depends on store paths. */
export class NixString {
  readonly text: string;
  readonly context: Context;
  constructor(text: string, context: Context) {
    this.text = text;
    this.context = context;
  }
}

export class NixFloat {
  readonly value: number;
  constructor(value: number) {
    this.value = value;
  }
}

/** A path, absolute. A literal may keep a trailing slash until it is used. */
export class NixPath {
  readonly path: string;
  constructor(path: string) {
    this.path = path;
  }
}

/** What can be called. Such values keep the thunk they came from, because equality looks at identity. */
export abstract class Callable {
  abstract readonly callable: 'lambda' | 'primop' | 'primop-app';
}

/** How to find the formal arguments in a set of one shape: the index of each, or -1 for its default. */
export interface FormalsPlan {
  readonly shape: object;
  readonly indices: readonly number[];
}

/** The compiled part of a function, shared by all its closures. */
export interface LambdaCode {
  readonly expr: LambdaExpr;
  body: Code;
  readonly fallbacks: readonly (Delay | undefined)[];
  plan: FormalsPlan | undefined;
}

export class Lambda extends Callable {
  readonly callable = 'lambda';
  readonly code: LambdaCode;
  readonly env: Env;
  constructor(code: LambdaCode, env: Env) {
    super();
    this.code = code;
    this.env = env;
  }
}

export type PrimOpFunction = (...args: Slot[]) => Value;

export class PrimOp extends Callable {
  readonly callable = 'primop';
  readonly name: string;
  readonly arity: number;
  readonly run: PrimOpFunction;
  /** Whether errors from inside say which builtin was being called. */
  readonly traced: boolean;
  constructor(name: string, arity: number, run: PrimOpFunction, traced = true) {
    super();
    this.name = name;
    this.arity = arity;
    this.run = run;
    this.traced = traced;
  }
}

export class PrimOpApp extends Callable {
  readonly callable = 'primop-app';
  readonly primop: PrimOp;
  readonly args: readonly Slot[];
  constructor(primop: PrimOp, args: readonly Slot[]) {
    super();
    this.primop = primop;
    this.args = args;
  }
}

/** Stands in for the code of a thunk while it is being evaluated: to meet it again is an infinite recursion. */
const blackhole: Code = () => {
  throw new NixError('infinite-recursion', 'infinite recursion encountered');
};

/** Stands in for the code of a thunk whose evaluation failed: it fails again in the same way. */
const failed: Code = () => {
  throw new NixError('other', 'a failed value was evaluated');
};

/** A value not computed yet: `code` over the scope in `payload`; once computed, no code and the value. */
export class Thunk {
  private code: Code | null;
  private payload: Env | Value | NixError | undefined;

  constructor(code: Code, env: Env) {
    this.code = code;
    this.payload = env;
  }

  /** The value, computed at most once. */
  force(pos: Pos): Value {
    return this.code === null ? (this.payload as Value) : this.evaluate(pos);
  }

  private evaluate(pos: Pos): Value {
    const code = this.code!;
    if (code === blackhole) {
      const error = new NixError('infinite-recursion', 'infinite recursion encountered', pos);
      error.thunk = this;
      throw error;
    }
    if (code === failed) {
      throw (this.payload as NixError).replay();
    }
    const env = this.payload as Env;
    this.code = blackhole;
    this.payload = undefined;
    let value: Value;
    try {
      value = code(env, pos);
    } catch (error) {
      this.fail(error, code, env);
      throw error;
    }
    this.code = null;
    this.payload = value;
    return value;
  }

  private fail(error: unknown, code: Code, env: Env): void {
    if (!(error instanceof NixError)) {
      this.code = code;
      this.payload = env;
      return;
    }
    if (error.thunk === this) {
      error.trace(noPos, 'entering the infinite recursion', true);
      error.thunk = undefined;
    }
    this.code = failed;
    this.payload = error;
  }

  /** The value if it is there already. */
  peek(): Value | undefined {
    return this.code === null ? (this.payload as Value) : undefined;
  }

  get isBeingEvaluated(): boolean {
    return this.code === blackhole;
  }

  /** What is applied, if the thunk is an application made by a builtin. */
  get applied(): Slot | undefined {
    const { code, payload } = this;
    return code !== null && applications.has(code) ? ((payload as Env)[0] as Slot) : undefined;
  }
}

/** The codes of applications that builtins make, such as the elements `map` gives. */
export const applications = new Set<Code>();

/** The value of a slot, computing it if need be. */
export function force(slot: Slot, pos: Pos = noPos): Value {
  return slot instanceof Thunk ? slot.force(pos) : slot;
}

export function isInt(value: Value): value is number | bigint {
  return typeof value === 'number' || typeof value === 'bigint';
}

export function isString(value: Value): value is string | NixString {
  return typeof value === 'string' || value instanceof NixString;
}

/** The bytes of a string value. */
export function stringText(value: string | NixString): string {
  return typeof value === 'string' ? value : value.text;
}

/** A bigint as an integer value: a number if it is safe to be one. */
export function normalizeInt(value: bigint): number | bigint {
  return value >= -9007199254740991n && value <= 9007199254740991n ? Number(value) : value;
}

/** Whether a bigint fits a signed 64-bit integer. */
export function fitsInt64(value: bigint): boolean {
  return value >= -0x8000000000000000n && value <= 0x7fffffffffffffffn;
}
