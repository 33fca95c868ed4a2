import type { Expr } from './ast.js';
import type { Pos } from './positions.js';

/** A part of an indented string: literal text (escapes count as not indented), or an interpolation. */
export type IndentedPart =
  | { readonly pos: Pos; readonly text: string; readonly indented: boolean; readonly expr?: undefined }
  | { readonly pos: Pos; readonly expr: Expr };

/** The least number of spaces that start a line; a last line of only spaces does not count. */
function measureIndentation(parts: readonly IndentedPart[]): number {
  let atLineStart = true;
  let minimum = 1_000_000;
  let current = 0;
  const endOfIndent = () => {
    atLineStart = false;
    if (current < minimum) minimum = current;
  };
  for (const part of parts) {
    if (part.expr !== undefined || !part.indented) {
      if (atLineStart) endOfIndent();
      continue;
    }
    for (let i = 0; i < part.text.length; i++) {
      const c = part.text.charCodeAt(i);
      if (c === 10) {
        atLineStart = true;
        current = 0;
      } else if (atLineStart) {
        if (c === 32) current++;
        else endOfIndent();
      }
    }
  }
  return minimum;
}

/** Removes the common indentation of an indented string, and a last line that is only spaces. */
export function stripIndentation(pos: Pos, parts: readonly IndentedPart[]): Expr {
  const minimum = measureIndentation(parts);
  const out: { pos: Pos; expr: Expr }[] = [];
  let atLineStart = true;
  let dropped = 0;
  parts.forEach((part, index) => {
    if (part.expr !== undefined) {
      atLineStart = false;
      dropped = 0;
      out.push({ pos: part.pos, expr: part.expr });
      return;
    }
    let text = '';
    for (let i = 0; i < part.text.length; i++) {
      const c = part.text.charCodeAt(i);
      if (!atLineStart) {
        text += part.text[i];
        if (c === 10) atLineStart = true;
      } else if (c === 32) {
        if (dropped++ >= minimum) text += ' ';
      } else {
        dropped = 0;
        text += part.text[i];
        if (c !== 10) atLineStart = false;
      }
    }
    if (index === parts.length - 1) text = text.replace(/\n *$/, '\n');
    if (text !== '') out.push({ pos: part.pos, expr: { kind: 'string', value: text } });
  });
  if (out.length === 0) return { kind: 'string', value: '' };
  if (out.length === 1 && out[0]!.expr.kind === 'string') return out[0]!.expr;
  return { kind: 'concat', pos, forceString: true, parts: out };
}
