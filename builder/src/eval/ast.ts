import { noPos, type Pos } from './positions.js';
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

/** Names a function after the attribute or variable it is bound to, and the functions it returns alike. */
export function nameLambda(expr: Expr, name: number): void {
  let inner = expr;
  while (inner.kind === 'lambda') {
    inner.name = name;
    inner = inner.body;
  }
}
