import type { AttrsExpr } from './ast.js';
import { nameLambda } from './ast.js';
import { Attrs, AttrsBuilder, emptyAttrs, Shape } from './attrs.js';
import { slotOrder } from './bind.js';
import { compile, delay } from './compile.js';
import { NixError } from './errors.js';
import { forceAttrs, forceStringNoContext } from './force.js';
import { printIdentifier } from './literal.js';
import { formatPosition, noPos } from './positions.js';
import { intern, sym, symbolName } from './symbols.js';
import { type Code, type Delay, type Env, type Slot, Thunk } from './values.js';

/** How one binding of a scope is made: in the scope itself (0), the one around it (1), or its inherit sources (2). */
export interface Binding {
  readonly source: 0 | 1 | 2;
  readonly delay: Delay;
}

const sources = { plain: 0, inherited: 1, 'inherited-from': 2 } as const;

/** The bindings of a set or `let`, in the order of their slots. */
export function planBindings(expr: AttrsExpr, names: readonly number[]): Binding[] {
  return names.map((name) => {
    const definition = expr.attrs.get(name)!;
    return { source: sources[definition.source], delay: delay(definition.expr) };
  });
}

/** Makes the scope that holds the sources of `inherit (source) …`, if there are any. */
export function inheritScope(expr: AttrsExpr): ((env: Env) => Env) | undefined {
  if (expr.inheritFrom.length === 0) return undefined;
  const delays = expr.inheritFrom.map(delay);
  return (env) => [env, ...delays.map((make) => make(env))];
}

function applyOverrides(attrs: Attrs, env: Env): Attrs {
  const slot = attrs.get(sym.overrides)!;
  const overrides = forceAttrs(slot, noPos, 'while evaluating the `__overrides` attribute');
  const builder = new AttrsBuilder();
  attrs.shape.ids.forEach((id, i) => {
    const index = overrides.shape.find(id);
    if (index < 0) builder.add(id, attrs.values[i]!, attrs.shape.position(i));
    else {
      builder.add(id, overrides.values[index]!, overrides.shape.position(index));
      env[i + 1] = overrides.values[index]!;
    }
  });
  overrides.shape.ids.forEach((id, i) => {
    if (!attrs.has(id)) builder.add(id, overrides.values[i]!, overrides.shape.position(i));
  });
  return builder.finish(attrs.pos);
}

function compileDynamic(expr: AttrsExpr): (attrs: Attrs, env: Env) => Attrs {
  const entries = expr.dynamic.map(({ name, value, pos }) => ({
    name: compile(name),
    value: delay(value),
    expr: value,
    pos,
  }));
  return (attrs, env) => {
    const added = new Map<number, { slot: Slot; pos: number }>();
    for (const { name, value, expr: valueExpr, pos } of entries) {
      const nameValue = name(env);
      if (nameValue === null) continue;
      const id = intern(
        forceStringNoContext(nameValue, pos, 'while evaluating the name of a dynamic attribute'),
      );
      const previous = added.get(id)?.pos ?? (attrs.has(id) ? attrs.positionOf(id) : undefined);
      if (previous !== undefined) {
        const text = `dynamic attribute '${printIdentifier(symbolName(id))}' already defined at ${formatPosition(previous)}`;
        throw new NixError('eval', text, pos);
      }
      nameLambda(valueExpr, id);
      added.set(id, { slot: value(env), pos });
    }
    if (added.size === 0) return attrs;
    const builder = new AttrsBuilder();
    attrs.shape.ids.forEach((id, i) => {
      builder.add(id, attrs.values[i]!, attrs.shape.position(i));
    });
    for (const [id, { slot, pos }] of added) builder.add(id, slot, pos);
    return builder.finish(attrs.pos);
  };
}

function compileRecursive(expr: AttrsExpr, names: readonly number[], shape: Shape): Code {
  const bindings = planBindings(expr, names);
  const inherit = inheritScope(expr);
  const dynamic = expr.dynamic.length === 0 ? undefined : compileDynamic(expr);
  const overrides = expr.attrs.has(sym.overrides);
  const count = bindings.length;
  // With `__overrides`, a variable must be looked up when it is used, not aliased to what it is now.
  const forced = overrides ? names.map((name) => compile(expr.attrs.get(name)!.expr)) : undefined;
  return (env) => {
    const inner: Env = new Array(count + 1);
    inner[0] = env;
    const from = inherit === undefined ? inner : inherit(inner);
    const values = new Array<Slot>(count);
    for (let i = 0; i < count; i++) {
      const { source, delay: make } = bindings[i]!;
      const where = source === 0 ? inner : source === 1 ? env : from;
      const slot = forced !== undefined && source !== 1 ? new Thunk(forced[i]!, where) : make(where);
      values[i] = slot;
      inner[i + 1] = slot;
    }
    let attrs = new Attrs(shape, values, expr.pos);
    if (overrides) attrs = applyOverrides(attrs, inner);
    return dynamic === undefined ? attrs : dynamic(attrs, inner);
  };
}

/** Compiles a set. */
export function compileAttrs(expr: AttrsExpr): Code {
  const names = slotOrder(expr);
  if (names.length === 0 && expr.dynamic.length === 0) return () => emptyAttrs;
  const positions = names.map((name) => expr.attrs.get(name)!.pos);
  const shape = new Shape(names, positions, true);
  if (expr.recursive) return compileRecursive(expr, names, shape);
  const bindings = planBindings(expr, names);
  const inherit = inheritScope(expr);
  const dynamic = expr.dynamic.length === 0 ? undefined : compileDynamic(expr);
  const count = bindings.length;
  const { pos } = expr;
  if (inherit === undefined && dynamic === undefined) {
    const delays = bindings.map((binding) => binding.delay);
    return (env) => {
      const values = new Array<Slot>(count);
      for (let i = 0; i < count; i++) values[i] = delays[i]!(env);
      return new Attrs(shape, values, pos);
    };
  }
  return (env) => {
    const from = inherit === undefined ? env : inherit(env);
    const values = new Array<Slot>(count);
    for (let i = 0; i < count; i++) {
      const { source, delay: make } = bindings[i]!;
      values[i] = make(source === 2 ? from : env);
    }
    const attrs = new Attrs(shape, values, pos);
    return dynamic === undefined ? attrs : dynamic(attrs, env);
  };
}
