import type { AttrName, AttrsExpr, Expr, InheritFromExpr, LambdaExpr, SelectExpr } from './ast.js';
import { formatFloat, printIdentifier, printStringLiteral } from './literal.js';
import { symbolName } from './symbols.js';

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
