import { formatFloat, printIdentifier, printStringLiteral } from './literal.js';
import { noPos, type Pos } from './positions.js';
import { symbolName } from './symbols.js';
import type { Value } from './values.js';

/** A name in an attribute path: a symbol, or an expression that makes one. */
export type AttrName =
  | { readonly symbol: number; readonly expr?: undefined }
  | { readonly symbol?: undefined; readonly expr: Expr };

export type BinaryOperator = '==' | '!=' | '&&' | '||' | '->' | '//' | '++';

export interface IntExpr {
  readonly kind: 'int';
  readonly value: number | bigint;
}
export interface FloatExpr {
  readonly kind: 'float';
  readonly value: number;
}
export interface StringExpr {
  readonly kind: 'string';
  readonly value: string;
}
export interface PathExpr {
  readonly kind: 'path';
  readonly value: string;
}
/** A variable. `bindVariables` says where it lives: a constant, a slot (level, index) or the withs around it. */
export interface VarExpr {
  readonly kind: 'var';
  readonly pos: Pos;
  readonly name: number;
  level: number;
  index: number;
  constant: { readonly value: Value } | undefined;
  withs: readonly { readonly level: number; readonly pos: Pos }[] | undefined;
}
/** The value of an `inherit (from)`: a slot of the scope that holds a set's sources. */
export interface InheritFromExpr {
  readonly kind: 'inherit-from';
  readonly pos: Pos;
  index: number;
}
export interface SelectExpr {
  readonly kind: 'select';
  readonly pos: Pos;
  readonly target: Expr;
  readonly path: readonly AttrName[];
  readonly fallback: Expr | undefined;
}
export interface HasAttrExpr {
  readonly kind: 'has-attr';
  readonly target: Expr;
  readonly path: readonly AttrName[];
}
export interface AttrDefinition {
  readonly expr: Expr;
  readonly pos: Pos;
  readonly source: 'plain' | 'inherited' | 'inherited-from';
}
export interface DynamicAttr {
  readonly name: Expr;
  readonly value: Expr;
  readonly pos: Pos;
}
export interface AttrsExpr {
  readonly kind: 'attrs';
  pos: Pos;
  recursive: boolean;
  readonly attrs: Map<number, AttrDefinition>;
  dynamic: DynamicAttr[];
  inheritFrom: Expr[];
  /** The names as `slotOrder` has sorted them. */
  order?: readonly number[];
}
export interface ListExpr {
  readonly kind: 'list';
  readonly items: readonly Expr[];
}
export interface Formal {
  readonly name: number;
  readonly pos: Pos;
  readonly fallback: Expr | undefined;
}
export interface Formals {
  readonly list: readonly Formal[];
  readonly ellipsis: boolean;
}
export interface LambdaExpr {
  readonly kind: 'lambda';
  readonly pos: Pos;
  readonly argument: number | undefined;
  readonly formals: Formals | undefined;
  readonly body: Expr;
  name: number | undefined;
  doc: readonly [Pos, Pos] | undefined;
}
export interface CallExpr {
  readonly kind: 'call';
  readonly pos: Pos;
  readonly callee: Expr;
  readonly args: Expr[];
  /** Where an `x or` that newer Nix will read differently ends, while it still may be one. */
  cursedOrEnd: Pos;
}
export interface LetExpr {
  readonly kind: 'let';
  readonly attrs: AttrsExpr;
  readonly body: Expr;
}
export interface WithExpr {
  readonly kind: 'with';
  readonly pos: Pos;
  readonly scope: Expr;
  readonly body: Expr;
}
export interface IfExpr {
  readonly kind: 'if';
  readonly pos: Pos;
  readonly condition: Expr;
  readonly consequent: Expr;
  readonly alternative: Expr;
}
export interface AssertExpr {
  readonly kind: 'assert';
  readonly pos: Pos;
  readonly condition: Expr;
  readonly body: Expr;
}
export interface NotExpr {
  readonly kind: 'not';
  readonly operand: Expr;
}
export interface BinaryExpr {
  readonly kind: 'binary';
  readonly pos: Pos;
  readonly operator: BinaryOperator;
  readonly left: Expr;
  readonly right: Expr;
}
export interface ConcatExpr {
  readonly kind: 'concat';
  readonly pos: Pos;
  readonly forceString: boolean;
  readonly parts: readonly { readonly pos: Pos; readonly expr: Expr }[];
}
export interface CurPosExpr {
  readonly kind: 'cur-pos';
  readonly pos: Pos;
}

export type Expr =
  | IntExpr
  | FloatExpr
  | StringExpr
  | PathExpr
  | VarExpr
  | InheritFromExpr
  | SelectExpr
  | HasAttrExpr
  | AttrsExpr
  | ListExpr
  | LambdaExpr
  | CallExpr
  | LetExpr
  | WithExpr
  | IfExpr
  | AssertExpr
  | NotExpr
  | BinaryExpr
  | ConcatExpr
  | CurPosExpr;

/** A variable not bound yet. */
export function makeVar(pos: Pos, name: number): VarExpr {
  return { kind: 'var', pos, name, level: 0, index: 0, constant: undefined, withs: undefined };
}

/** The position messages give for an expression. */
export function positionOf(expr: Expr): Pos {
  switch (expr.kind) {
    case 'int':
    case 'float':
    case 'string':
    case 'path':
    case 'let':
      return noPos;
    case 'has-attr':
      return positionOf(expr.target);
    case 'not':
      return positionOf(expr.operand);
    case 'list':
      return expr.items.length === 0 ? noPos : positionOf(expr.items[0]!);
    case 'var':
    case 'inherit-from':
    case 'select':
    case 'attrs':
    case 'lambda':
    case 'call':
    case 'with':
    case 'if':
    case 'assert':
    case 'binary':
    case 'concat':
    case 'cur-pos':
      return expr.pos;
  }
}

/** An attribute path as written. */
export function showAttrPath(path: readonly AttrName[]): string {
  return path
    .map((name) =>
      name.symbol !== undefined ? printIdentifier(symbolName(name.symbol)) : `"\${${showExpr(name.expr!)}}"`,
    )
    .join('.');
}

const byName = (a: number, b: number): number => (symbolName(a) < symbolName(b) ? -1 : 1);

function showBindings(expr: AttrsExpr): string {
  const names = [...expr.attrs.keys()].sort(byName);
  const inherited: string[] = [];
  const inheritedFrom = new Map<number, string[]>();
  let plain = '';
  for (const name of names) {
    const definition = expr.attrs.get(name)!;
    const shown = printIdentifier(symbolName(name));
    if (definition.source === 'inherited') inherited.push(shown);
    else if (definition.source === 'inherited-from') {
      const from = ((definition.expr as SelectExpr).target as InheritFromExpr).index;
      const list = inheritedFrom.get(from);
      if (list === undefined) inheritedFrom.set(from, [shown]);
      else list.push(shown);
    } else plain += `${shown} = ${showExpr(definition.expr)}; `;
  }
  let out = inherited.length === 0 ? '' : `inherit ${inherited.join(' ')}; `;
  for (const from of [...inheritedFrom.keys()].sort((a, b) => a - b)) {
    out += `inherit (${showExpr(expr.inheritFrom[from]!)}) ${inheritedFrom.get(from)!.join(' ')}; `;
  }
  out += plain;
  for (const { name, value } of expr.dynamic) out += `"\${${showExpr(name)}}" = ${showExpr(value)}; `;
  return out;
}

function showLambda(expr: LambdaExpr): string {
  let out = '(';
  if (expr.formals !== undefined) {
    const parts = [...expr.formals.list]
      .sort((a, b) => byName(a.name, b.name))
      .map(
        (formal) =>
          printIdentifier(symbolName(formal.name)) +
          (formal.fallback === undefined ? '' : ` ? ${showExpr(formal.fallback)}`),
      );
    if (expr.formals.ellipsis) parts.push('...');
    out += `{ ${parts.join(', ')} }`;
    if (expr.argument !== undefined) out += ' @ ';
  }
  if (expr.argument !== undefined) out += printIdentifier(symbolName(expr.argument));
  return `${out}: ${showExpr(expr.body)})`;
}

/** The text `--parse` prints for an expression. */
export function showExpr(expr: Expr): string {
  switch (expr.kind) {
    case 'int':
      return expr.value.toString();
    case 'float':
      return formatFloat(expr.value);
    case 'string':
      return printStringLiteral(expr.value);
    case 'path':
      return expr.value;
    case 'var':
      return printIdentifier(symbolName(expr.name));
    case 'inherit-from':
      return '';
    case 'select': {
      const fallback = expr.fallback === undefined ? '' : ` or (${showExpr(expr.fallback)})`;
      return `(${showExpr(expr.target)}).${showAttrPath(expr.path)}${fallback}`;
    }
    case 'has-attr':
      return `((${showExpr(expr.target)}) ? ${showAttrPath(expr.path)})`;
    case 'attrs':
      return `${expr.recursive ? 'rec ' : ''}{ ${showBindings(expr)}}`;
    case 'list':
      return `[ ${expr.items.map((item) => `(${showExpr(item)}) `).join('')}]`;
    case 'lambda':
      return showLambda(expr);
    case 'call':
      return `(${[expr.callee, ...expr.args].map(showExpr).join(' ')})`;
    case 'let':
      return `(let ${showBindings(expr.attrs)}in ${showExpr(expr.body)})`;
    case 'with':
      return `(with ${showExpr(expr.scope)}; ${showExpr(expr.body)})`;
    case 'if':
      return `(if ${showExpr(expr.condition)} then ${showExpr(expr.consequent)} else ${showExpr(expr.alternative)})`;
    case 'assert':
      return `assert ${showExpr(expr.condition)}; ${showExpr(expr.body)}`;
    case 'not':
      return `(! ${showExpr(expr.operand)})`;
    case 'binary':
      return `(${showExpr(expr.left)} ${expr.operator} ${showExpr(expr.right)})`;
    case 'concat':
      return `(${expr.parts.map((part) => showExpr(part.expr)).join(' + ')})`;
    case 'cur-pos':
      return '__curPos';
  }
}

/** Names a function after the attribute or variable it is bound to, and the functions it returns alike. */
export function nameLambda(expr: Expr, name: number): void {
  let inner = expr;
  while (inner.kind === 'lambda') {
    inner.name = name;
    inner = inner.body;
  }
}
