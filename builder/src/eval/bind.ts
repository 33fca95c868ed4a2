import type { AttrName, AttrsExpr, Expr, LambdaExpr, VarExpr } from './ast.js';
import { NixError } from './errors.js';
import { printIdentifier } from './literal.js';
import type { Pos } from './positions.js';
import { symbolName } from './symbols.js';
import type { Slot, Value } from './values.js';
import { Thunk } from './values.js';

/** The names the outermost scope defines, with their values. */
export type BaseScope = ReadonlyMap<number, Slot>;

/** A scope at parse time. Each but the base has a run-time `Env`; variable `index` is its place in that. */
export interface Scope {
  readonly up: Scope | undefined;
  readonly variables: ReadonlyMap<number, number> | undefined;
  readonly withPos: Pos | undefined;
  readonly base: BaseScope | undefined;
}

/** The scope that holds nothing but the builtins. */
export function baseScope(base: BaseScope): Scope {
  return { up: undefined, variables: undefined, withPos: undefined, base };
}

/** A scope of variables in the order of their slots. */
export function innerScope(up: Scope, names: Iterable<number>): Scope {
  const variables = new Map<number, number>();
  let index = 1;
  for (const name of names) variables.set(name, index++);
  return { up, variables, withPos: undefined, base: undefined };
}

function bindVar(expr: VarExpr, scope: Scope): void {
  let level = 0;
  const withs: { level: number; pos: Pos }[] = [];
  for (let current: Scope | undefined = scope; current !== undefined; current = current.up) {
    if (current.withPos !== undefined) withs.push({ level, pos: current.withPos });
    else if (current.variables !== undefined) {
      const index = current.variables.get(expr.name);
      if (index !== undefined) {
        expr.level = level;
        expr.index = index;
        return;
      }
    } else {
      const value = current.base!.get(expr.name);
      if (value !== undefined) {
        expr.constant = constantOf(value, expr.pos);
        return;
      }
    }
    level++;
  }
  if (withs.length === 0) {
    const name = printIdentifier(symbolName(expr.name));
    throw new NixError('undefined-variable', `undefined variable '${name}'`, expr.pos);
  }
  expr.withs = withs;
}

/** What a variable of the outermost scope has as its value: nearly always a builtin, which is there already. */
function constantOf(slot: Slot, pos: Pos): { readonly value: Value } {
  if (!(slot instanceof Thunk)) return { value: slot };
  return {
    get value() {
      return slot.force(pos);
    },
  };
}

function bindPath(path: readonly AttrName[], scope: Scope): void {
  for (const name of path) if (name.expr !== undefined) bindVariables(name.expr, scope);
}

/** The names of a set in the order of their slots: by symbol, as attribute sets are sorted. Asked when all are there. */
export function slotOrder(expr: AttrsExpr): readonly number[] {
  expr.order ??= [...expr.attrs.keys()].sort((a, b) => a - b);
  return expr.order;
}

function bindAttrs(expr: AttrsExpr, scope: Scope, inner: Scope): void {
  const inheritScope = innerScope(inner, []);
  for (const source of expr.inheritFrom) bindVariables(source, inner);
  for (const name of slotOrder(expr)) {
    const definition = expr.attrs.get(name)!;
    const where =
      definition.source === 'plain' ? inner : definition.source === 'inherited' ? scope : inheritScope;
    bindVariables(definition.expr, where);
  }
  for (const dynamic of expr.dynamic) {
    bindVariables(dynamic.name, inner);
    bindVariables(dynamic.value, inner);
  }
}

/** The order of a function's formal arguments in its scope: by symbol. */
export function formalsOrder(expr: LambdaExpr): LambdaExpr['formals'] {
  if (expr.formals === undefined) return undefined;
  return { ...expr.formals, list: [...expr.formals.list].sort((a, b) => a.name - b.name) };
}

function bindLambda(expr: LambdaExpr, scope: Scope): void {
  const names = expr.argument === undefined ? [] : [expr.argument];
  const formals = formalsOrder(expr);
  if (formals !== undefined) for (const formal of formals.list) names.push(formal.name);
  const inner = innerScope(scope, names);
  if (formals !== undefined) {
    for (const formal of formals.list) {
      if (formal.fallback !== undefined) bindVariables(formal.fallback, inner);
    }
  }
  bindVariables(expr.body, inner);
}

/**
 * Resolves every variable of an expression to the slot it will be in at run time.
 * @throws NixError of kind `undefined-variable` for one that nothing defines.
 */
export function bindVariables(expr: Expr, scope: Scope): void {
  switch (expr.kind) {
    case 'int':
    case 'float':
    case 'string':
    case 'path':
    case 'inherit-from':
    case 'cur-pos':
      return;
    case 'var':
      bindVar(expr, scope);
      return;
    case 'select':
      bindVariables(expr.target, scope);
      if (expr.fallback !== undefined) bindVariables(expr.fallback, scope);
      bindPath(expr.path, scope);
      return;
    case 'has-attr':
      bindVariables(expr.target, scope);
      bindPath(expr.path, scope);
      return;
    case 'attrs':
      bindAttrs(expr, scope, expr.recursive ? innerScope(scope, slotOrder(expr)) : scope);
      return;
    case 'let': {
      const inner = innerScope(scope, slotOrder(expr.attrs));
      bindAttrs(expr.attrs, scope, inner);
      bindVariables(expr.body, inner);
      return;
    }
    case 'list':
      for (const item of expr.items) bindVariables(item, scope);
      return;
    case 'lambda':
      bindLambda(expr, scope);
      return;
    case 'call':
      bindVariables(expr.callee, scope);
      for (const argument of expr.args) bindVariables(argument, scope);
      return;
    case 'with':
      bindVariables(expr.scope, scope);
      bindVariables(expr.body, { up: scope, variables: undefined, withPos: expr.pos, base: undefined });
      return;
    case 'if':
      bindVariables(expr.condition, scope);
      bindVariables(expr.consequent, scope);
      bindVariables(expr.alternative, scope);
      return;
    case 'assert':
      bindVariables(expr.condition, scope);
      bindVariables(expr.body, scope);
      return;
    case 'not':
      bindVariables(expr.operand, scope);
      return;
    case 'binary':
      bindVariables(expr.left, scope);
      bindVariables(expr.right, scope);
      return;
    case 'concat':
      for (const part of expr.parts) bindVariables(part.expr, scope);
      return;
  }
}
