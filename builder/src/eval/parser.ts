import type {
  AttrDefinition,
  AttrName,
  AttrsExpr,
  CallExpr,
  Expr,
  Formal,
  Formals,
  InheritFromExpr,
  LambdaExpr,
  SelectExpr,
} from './ast.js';
import { makeVar, nameLambda } from './ast.js';
import { NixError } from './errors.js';
import { lexicalError, T, type Tokens, tokenize, tokenName } from './lexer.js';
import { printIdentifier } from './literal.js';
import { addOrigin, formatPosition, noPos, type Origin, type Pos } from './positions.js';
import { showAttrPath } from './show-expr.js';
import { type IndentedPart, stripIndentation } from './strip-indentation.js';
import { intern, sym, symbolName } from './symbols.js';

/** What a lint setting does with what it finds. */
export type LintLevel = 'ignore' | 'warn' | 'fatal';

/** How to parse: where relative paths start, which features are on, and where warnings go. */
export interface ParseOptions {
  /** The directory relative paths are resolved against, absolute. */
  readonly basePath: string;
  /** The home directory for `~/…`; undefined in pure mode, where such paths are errors. */
  readonly home: string | undefined;
  readonly pipeOperators?: boolean;
  readonly lintUrlLiterals?: LintLevel;
  readonly lintShortPathLiterals?: LintLevel;
  readonly lintAbsolutePathLiterals?: LintLevel;
  /** Takes a warning about the source: an error that was not thrown. */
  readonly warn?: (warning: NixError) => void;
  /** Takes the plain-text warning about an `or` that will change its meaning. */
  readonly warnOr?: (start: Pos, end: Pos) => void;
}

const lintNames = {
  lintUrlLiterals: 'lint-url-literals',
  lintShortPathLiterals: 'lint-short-path-literals',
  lintAbsolutePathLiterals: 'lint-absolute-path-literals',
} as const;

type LintSetting = keyof typeof lintNames;

const PREC_NOT = 7;
const PREC_NEGATE = 12;

interface Operator {
  readonly precedence: number;
  readonly side: 'left' | 'right' | 'none';
}

const operators: Readonly<Record<number, Operator>> = {
  [T.Implies]: { precedence: 1, side: 'right' },
  [T.Or]: { precedence: 2, side: 'left' },
  [T.And]: { precedence: 3, side: 'left' },
  [T.Eq]: { precedence: 4, side: 'none' },
  [T.Neq]: { precedence: 4, side: 'none' },
  60: { precedence: 5, side: 'none' },
  62: { precedence: 5, side: 'none' },
  [T.Leq]: { precedence: 5, side: 'none' },
  [T.Geq]: { precedence: 5, side: 'none' },
  [T.Update]: { precedence: 6, side: 'right' },
  43: { precedence: 8, side: 'left' },
  45: { precedence: 8, side: 'left' },
  42: { precedence: 9, side: 'left' },
  47: { precedence: 9, side: 'left' },
  [T.Concat]: { precedence: 10, side: 'right' },
  63: { precedence: 11, side: 'none' },
};

const CH = {
  quote: 34,
  minus: 45,
  open: 40,
  close: 41,
  comma: 44,
  dot: 46,
  colon: 58,
  semicolon: 59,
  equals: 61,
  question: 63,
  at: 64,
  not: 33,
  openList: 91,
  closeList: 93,
  openSet: 123,
  closeSet: 125,
} as const;

const attrStart = [T.Id, T.OrKeyword, T.DollarCurly, CH.quote] as const;

/** Makes an absolute path of `text` relative to `base`: no `.`, `..`, or doubled slashes. */
export function canonicalPath(text: string, base = '/'): string {
  const parts: string[] = [];
  const full = text.startsWith('/') ? text : `${base}/${text}`;
  for (const part of full.split('/')) {
    if (part === '' || part === '.') continue;
    if (part === '..') parts.pop();
    else parts.push(part);
  }
  return `/${parts.join('/')}`;
}

class Parser {
  private readonly tokens: Tokens & { escapedIndented: ReadonlySet<number> };
  private readonly kinds: readonly number[];
  private readonly starts: readonly number[];
  private readonly ends: readonly number[];
  private readonly source: string;
  private readonly base: number;
  private readonly options: ParseOptions;
  private at = 0;

  constructor(source: string, base: number, options: ParseOptions) {
    this.source = source;
    this.base = base;
    this.options = options;
    this.tokens = tokenize(source, options.pipeOperators ?? false);
    this.kinds = this.tokens.kinds;
    this.starts = this.tokens.starts;
    this.ends = this.tokens.ends;
  }

  parseWhole(): Expr {
    const expr = this.parseExpr();
    if (this.kinds[this.at] !== T.End) this.unexpected([T.End]);
    return expr;
  }

  /** The definitions `a = 1; b.c = 2; inherit x;` that the interactive prompt takes. */
  parseBindings(): AttrsExpr {
    const attrs = this.makeAttrs(noPos);
    this.parseBinds(attrs, T.End);
    return attrs;
  }

  // --- tokens

  private pos(token: number): Pos {
    return this.base + this.starts[token]!;
  }

  private text(token: number): string {
    return this.source.slice(this.starts[token], this.ends[token]);
  }

  private symbol(token: number): number {
    return intern(this.text(token));
  }

  private unexpected(expected: readonly number[] = []): never {
    const kind = this.kinds[this.at]!;
    if (kind === T.Error) throw lexicalError(this.tokens, this.base);
    const list =
      expected.length === 0 || expected.length > 4
        ? ''
        : `, expecting ${expected.map(tokenName).join(' or ')}`;
    const offset = kind === T.End ? this.ends[this.at]! : this.starts[this.at]!;
    throw new NixError('parse', `syntax error, unexpected ${tokenName(kind)}${list}`, this.base + offset);
  }

  private expect(kind: number, expected: readonly number[] = [kind]): number {
    if (this.kinds[this.at] !== kind) this.unexpected(expected);
    return this.at++;
  }

  private fail(text: string, pos: Pos): never {
    throw new NixError('parse', text, pos);
  }

  // --- functions and keywords

  parseExpr(): Expr {
    const { kinds, at } = this;
    switch (kinds[at]!) {
      case T.Id:
        if (kinds[at + 1] === CH.colon) return this.parseSimpleLambda();
        if (kinds[at + 1] === CH.at) return this.parseFormalsLambda();
        break;
      case CH.openSet:
        if (this.looksLikeFormals()) return this.parseFormalsLambda();
        break;
      case T.Assert:
      case T.With:
        return this.parseAssertOrWith();
      case T.Let:
        if (kinds[at + 1] !== CH.openSet) return this.parseLet();
        break;
      case T.If:
        return this.parseIf();
      default:
    }
    return this.parsePipes();
  }

  private withDoc(lambda: LambdaExpr, startToken: number): LambdaExpr {
    const doc = this.tokens.docComments.get(this.starts[startToken]!);
    if (doc !== undefined) this.attachDoc(lambda, doc);
    return lambda;
  }

  private attachDoc(expr: Expr, doc: readonly [number, number]): void {
    let inner = expr;
    while (inner.kind === 'lambda' && inner.doc === undefined) {
      inner.doc = [this.base + doc[0], this.base + doc[1]];
      inner = inner.body;
    }
  }

  private parseSimpleLambda(): Expr {
    const start = this.at;
    const argument = this.symbol(start);
    this.at += 2;
    const body = this.parseExpr();
    return this.withDoc(
      {
        kind: 'lambda',
        pos: this.pos(start),
        argument,
        formals: undefined,
        body,
        name: undefined,
        doc: undefined,
      },
      start,
    );
  }

  /** After `{`: is this the pattern of a function, not a set? Three tokens tell. */
  private looksLikeFormals(): boolean {
    const { kinds, at } = this;
    switch (kinds[at + 1]!) {
      case T.Ellipsis:
        return true;
      case CH.closeSet:
        return kinds[at + 2] === CH.colon || kinds[at + 2] === CH.at;
      case T.Id: {
        const next = kinds[at + 2];
        return next === CH.comma || next === CH.question || next === CH.closeSet;
      }
      default:
        return false;
    }
  }

  private parseFormalsLambda(): Expr {
    const start = this.at;
    const pos = this.pos(start);
    let argument: number | undefined;
    if (this.kinds[start] === T.Id) {
      argument = this.symbol(start);
      this.at += 2;
      if (this.kinds[this.at] !== CH.openSet) this.unexpected([CH.openSet]);
    }
    const formals = this.parseFormals();
    if (argument === undefined && this.kinds[this.at] === CH.at) {
      this.at++;
      argument = this.symbol(this.expect(T.Id));
    }
    this.expect(CH.colon, argument === undefined ? [CH.colon, CH.at] : [CH.colon]);
    const body = this.parseExpr();
    this.checkFormals(formals, pos, argument);
    return this.withDoc(
      { kind: 'lambda', pos, argument, formals, body, name: undefined, doc: undefined },
      start,
    );
  }

  private parseFormals(): Formals {
    this.at++;
    const list: Formal[] = [];
    for (;;) {
      const kind = this.kinds[this.at];
      if (kind === T.Ellipsis) {
        this.at++;
        this.expect(CH.closeSet);
        return { list, ellipsis: true };
      }
      if (kind === CH.closeSet) {
        this.at++;
        return { list, ellipsis: false };
      }
      const token = this.expect(T.Id, [T.Id, T.Ellipsis, CH.closeSet]);
      let fallback: Expr | undefined;
      if (this.kinds[this.at] === CH.question) {
        this.at++;
        fallback = this.parseExpr();
      }
      list.push({ name: this.symbol(token), pos: this.pos(token), fallback });
      if (this.kinds[this.at] === CH.comma) this.at++;
      else if (this.kinds[this.at] !== CH.closeSet) this.unexpected([CH.closeSet, CH.comma]);
    }
  }

  private checkFormals(formals: Formals, pos: Pos, argument: number | undefined): void {
    const seen = new Set<number>();
    let duplicate: Formal | undefined;
    for (const formal of formals.list) {
      if (seen.has(formal.name) && (duplicate === undefined || formal.name < duplicate.name))
        duplicate = formal;
      seen.add(formal.name);
    }
    const complain = (name: number, where: Pos): never =>
      this.fail(`duplicate formal function argument '${printIdentifier(symbolName(name))}'`, where);
    if (duplicate !== undefined) complain(duplicate.name, duplicate.pos);
    if (argument !== undefined && seen.has(argument)) complain(argument, pos);
  }

  private parseAssertOrWith(): Expr {
    const keyword = this.at++;
    const pos = this.pos(keyword);
    const first = this.parseExpr();
    this.expect(CH.semicolon);
    const body = this.parseExpr();
    return this.kinds[keyword] === T.Assert
      ? { kind: 'assert', pos, condition: first, body }
      : { kind: 'with', pos, scope: first, body };
  }

  private parseLet(): Expr {
    const pos = this.pos(this.at++);
    const attrs = this.makeAttrs(noPos);
    this.parseBinds(attrs, T.In);
    this.at++;
    const body = this.parseExpr();
    if (attrs.dynamic.length > 0) this.fail('dynamic attributes not allowed in let', pos);
    return { kind: 'let', attrs, body };
  }

  private parseIf(): Expr {
    const pos = this.pos(this.at++);
    const condition = this.parseExpr();
    this.expect(T.Then);
    const consequent = this.parseExpr();
    this.expect(T.Else);
    const alternative = this.parseExpr();
    return { kind: 'if', pos, condition, consequent, alternative };
  }

  // --- operators

  private parsePipes(): Expr {
    let left = this.parseOperators(0);
    const kind = this.kinds[this.at];
    if (kind === T.PipeFrom) {
      const pos = this.pos(this.at++);
      return this.makeCall(pos, left, this.parsePipeFromRest());
    }
    while (this.kinds[this.at] === T.PipeInto) {
      const pos = this.pos(this.at++);
      left = this.makeCall(pos, this.parseOperators(0), left);
    }
    return left;
  }

  private parsePipeFromRest(): Expr {
    const left = this.parseOperators(0);
    if (this.kinds[this.at] !== T.PipeFrom) return left;
    const pos = this.pos(this.at++);
    return this.makeCall(pos, left, this.parsePipeFromRest());
  }

  private makeCall(pos: Pos, callee: Expr, argument: Expr): Expr {
    if (callee.kind === 'call') {
      callee.args.push(argument);
      return callee;
    }
    return { kind: 'call', pos, callee, args: [argument], cursedOrEnd: noPos };
  }

  private builtinCall(pos: Pos, name: number, args: Expr[]): CallExpr {
    return { kind: 'call', pos, callee: makeVar(noPos, name), args, cursedOrEnd: noPos };
  }

  private parseUnary(): Expr {
    const start = this.at;
    switch (this.kinds[start]!) {
      case CH.not:
        this.at++;
        return { kind: 'not', operand: this.parseOperators(PREC_NOT + 1) };
      case CH.minus: {
        this.at++;
        const operand = this.parseOperators(PREC_NEGATE + 1);
        return this.builtinCall(this.pos(start), sym.sub, [{ kind: 'int', value: 0 }, operand]);
      }
      default:
        return this.parseApplication();
    }
  }

  private parseOperators(minimum: number): Expr {
    const start = this.at;
    let left = this.parseUnary();
    let previous = 99;
    for (;;) {
      const kind = this.kinds[this.at]!;
      const operator = operators[kind];
      if (operator === undefined || operator.precedence < minimum) return left;
      if (operator.side === 'none' && operator.precedence === previous) this.unexpected();
      previous = operator.precedence;
      const token = this.at++;
      if (kind === CH.question) {
        left = { kind: 'has-attr', target: left, path: this.parseAttrPath() };
        continue;
      }
      const rightStart = this.at;
      const right = this.parseOperators(
        operator.side === 'right' ? operator.precedence : operator.precedence + 1,
      );
      left = this.makeBinary(kind, this.pos(token), left, right, [this.pos(start), this.pos(rightStart)]);
    }
  }

  private makeBinary(kind: number, pos: Pos, left: Expr, right: Expr, starts: readonly [Pos, Pos]): Expr {
    switch (kind) {
      case T.Eq:
        return { kind: 'binary', pos, operator: '==', left, right };
      case T.Neq:
        return { kind: 'binary', pos, operator: '!=', left, right };
      case T.And:
        return { kind: 'binary', pos, operator: '&&', left, right };
      case T.Or:
        return { kind: 'binary', pos, operator: '||', left, right };
      case T.Implies:
        return { kind: 'binary', pos, operator: '->', left, right };
      case T.Update:
        return { kind: 'binary', pos, operator: '//', left, right };
      case T.Concat:
        return { kind: 'binary', pos, operator: '++', left, right };
      case 60:
        return this.builtinCall(pos, sym.lessThan, [left, right]);
      case 62:
        return this.builtinCall(pos, sym.lessThan, [right, left]);
      case T.Leq:
        return { kind: 'not', operand: this.builtinCall(pos, sym.lessThan, [right, left]) };
      case T.Geq:
        return { kind: 'not', operand: this.builtinCall(pos, sym.lessThan, [left, right]) };
      case 43:
        return {
          kind: 'concat',
          pos,
          forceString: false,
          parts: [
            { pos: starts[0], expr: left },
            { pos: starts[1], expr: right },
          ],
        };
      case 45:
        return this.builtinCall(pos, sym.sub, [left, right]);
      case 42:
        return this.builtinCall(pos, sym.mul, [left, right]);
      default:
        return this.builtinCall(pos, sym.div, [left, right]);
    }
  }

  // --- application and selection

  private startsSimple(): boolean {
    switch (this.kinds[this.at]!) {
      case T.Id:
      case T.Int:
      case T.Float:
      case CH.quote:
      case T.IndOpen:
      case T.Path:
      case T.HomePath:
      case T.SearchPath:
      case T.Uri:
      case CH.open:
      case T.Rec:
      case CH.openSet:
      case CH.openList:
        return true;
      case T.Let:
        return this.kinds[this.at + 1] === CH.openSet;
      default:
        return false;
    }
  }

  private parseApplication(): Expr {
    const start = this.at;
    let callee = this.parseSelect();
    if (callee.kind === 'call') callee.cursedOrEnd = noPos;
    while (this.startsSimple()) {
      const argument = this.parseSelect();
      callee = this.makeCall(this.pos(start), callee, argument);
      this.warnCursedOr(argument);
    }
    return callee;
  }

  private warnCursedOr(expr: Expr): void {
    if (expr.kind === 'call' && expr.cursedOrEnd !== noPos) {
      this.options.warnOr?.(expr.pos, expr.cursedOrEnd);
    }
  }

  private parseSelect(): Expr {
    const start = this.at;
    const target = this.parseSimple();
    const kind = this.kinds[this.at];
    if (kind === CH.dot) {
      this.at++;
      const path = this.parseAttrPath();
      let fallback: Expr | undefined;
      if (this.kinds[this.at] === T.OrKeyword) {
        this.at++;
        fallback = this.parseSelect();
        this.warnCursedOr(fallback);
      }
      return { kind: 'select', pos: this.pos(start), target, path, fallback };
    }
    if (kind === T.OrKeyword) {
      const token = this.at++;
      const pos = this.pos(start);
      return {
        kind: 'call',
        pos,
        callee: target,
        args: [makeVar(pos, sym.or)],
        cursedOrEnd: this.base + this.ends[token]!,
      };
    }
    return target;
  }

  private parseSimple(): Expr {
    const start = this.at;
    const pos = this.pos(start);
    switch (this.kinds[start]!) {
      case T.Id: {
        this.at++;
        const text = this.text(start);
        return text === '__curPos' ? { kind: 'cur-pos', pos } : makeVar(pos, intern(text));
      }
      case T.Int:
        return this.parseInt();
      case T.Float:
        return this.parseFloat();
      case CH.quote: {
        this.at++;
        return this.parseStringParts();
      }
      case T.IndOpen:
        return this.parseIndented();
      case T.Path:
      case T.HomePath:
        return this.parsePath();
      case T.SearchPath: {
        this.at++;
        const text = this.text(start);
        const name: Expr = { kind: 'string', value: text.slice(1, -1) };
        return {
          kind: 'call',
          pos,
          callee: makeVar(noPos, sym.findFile),
          args: [makeVar(noPos, sym.nixPath), name],
          cursedOrEnd: noPos,
        };
      }
      case T.Uri:
        return this.parseUri();
      case CH.open: {
        this.at++;
        const expr = this.parseExpr();
        this.expect(CH.close);
        return expr;
      }
      case T.Let:
      case T.Rec:
        return this.parseRecursive();
      case CH.openSet: {
        this.at++;
        const attrs = this.makeAttrs(pos);
        this.parseBinds(attrs, CH.closeSet, true);
        this.at++;
        return attrs;
      }
      case CH.openList:
        return this.parseList();
      default:
        return this.unexpected();
    }
  }

  private parseInt(): Expr {
    const token = this.at++;
    const text = this.text(token);
    const value = Number(text);
    if (Number.isSafeInteger(value)) return { kind: 'int', value };
    const exact = BigInt(text);
    if (exact > 0x7fffffffffffffffn) this.fail(`invalid integer '${text}'`, this.pos(token));
    return { kind: 'int', value: exact };
  }

  private parseFloat(): Expr {
    const token = this.at++;
    const text = this.text(token);
    const value = Number(text);
    if (!Number.isFinite(value)) this.fail(`invalid float '${text}'`, this.pos(token));
    return { kind: 'float', value };
  }

  private parseUri(): Expr {
    const token = this.at++;
    const text = this.text(token);
    this.lint('lintUrlLiterals', token, (fatal) => {
      const verdict = fatal ? 'disallowed' : 'discouraged';
      return `URL literals are ${verdict}. Consider using a string literal "${text}" instead`;
    });
    return { kind: 'string', value: text };
  }

  private lint(setting: LintSetting, token: number, message: (fatal: boolean) => string): void {
    const level = this.options[setting];
    if (level === undefined || level === 'ignore') return;
    const text = `${message(level === 'fatal')} (${lintNames[setting]})`;
    const error = new NixError('parse', text, this.pos(token));
    if (level === 'fatal') throw error;
    this.options.warn?.(error);
  }

  private parseRecursive(): Expr {
    const keyword = this.at++;
    const pos = this.pos(keyword);
    this.expect(CH.openSet);
    const attrs = this.makeAttrs(pos);
    attrs.recursive = true;
    this.parseBinds(attrs, CH.closeSet);
    this.at++;
    if (this.kinds[keyword] === T.Rec) return attrs;
    return { kind: 'select', pos, target: attrs, path: [{ symbol: sym.body }], fallback: undefined };
  }

  private parseList(): Expr {
    this.at++;
    const items: Expr[] = [];
    while (this.kinds[this.at] !== CH.closeList) {
      if (!this.startsSimple()) this.unexpected();
      const item = this.parseSelect();
      this.warnCursedOr(item);
      items.push(item);
    }
    this.at++;
    return { kind: 'list', items };
  }

  // --- strings and paths

  /** After the opening quote: the string up to and with the closing quote. */
  private parseStringParts(): Expr {
    const start = this.at;
    const parts: { pos: Pos; expr: Expr }[] = [];
    let interpolated = false;
    for (;;) {
      const token = this.at;
      const kind = this.kinds[token];
      if (kind === T.Str) {
        parts.push({ pos: this.pos(token), expr: { kind: 'string', value: this.tokens.texts.get(token)! } });
        this.at++;
      } else if (kind === T.DollarCurly) {
        interpolated = true;
        parts.push({ pos: this.pos(token), expr: this.parseInterpolation() });
      } else {
        if (kind !== CH.quote) {
          this.unexpected([CH.quote]);
        }
        this.at++;
        break;
      }
    }
    if (parts.length === 0) return { kind: 'string', value: '' };
    if (!interpolated) return parts[0]!.expr;
    return { kind: 'concat', pos: this.pos(start), forceString: true, parts };
  }

  private parseInterpolation(): Expr {
    this.at++;
    const expr = this.parseExpr();
    this.expect(CH.closeSet);
    return expr;
  }

  private parseIndented(): Expr {
    const start = this.at++;
    const parts: IndentedPart[] = [];
    for (;;) {
      const token = this.at;
      const kind = this.kinds[token];
      if (kind === T.IndStr) {
        const indented = !this.tokens.escapedIndented.has(token);
        parts.push({ pos: this.pos(token), text: this.tokens.texts.get(token)!, indented });
        this.at++;
      } else if (kind === T.DollarCurly) {
        parts.push({ pos: this.pos(token), expr: this.parseInterpolation() });
      } else {
        if (kind !== T.IndClose) this.unexpected([T.IndStr, T.DollarCurly, T.IndClose]);
        this.at++;
        return stripIndentation(this.pos(start), parts);
      }
    }
  }

  private parsePathStart(token: number): Expr {
    const text = this.tokens.texts.get(token)!;
    const slash = text.length > 1 && text.endsWith('/') ? '/' : '';
    if (this.kinds[token] === T.HomePath) {
      if (this.options.home === undefined) {
        throw new NixError('other', `the path '${text}' can not be resolved in pure mode`);
      }
      this.lint(
        'lintAbsolutePathLiterals',
        token,
        () =>
          `home path literals are not portable. Consider replacing path literal '${text}' by a string, relative path, or parameter`,
      );
      return { kind: 'path', value: this.options.home + text.slice(1) };
    }
    if (text.startsWith('/')) {
      this.lint(
        'lintAbsolutePathLiterals',
        token,
        () =>
          `absolute path literals are not portable. Consider replacing path literal '${text}' by a string, relative path, or parameter`,
      );
      return { kind: 'path', value: canonicalPath(text) + slash };
    }
    if (!text.startsWith('.')) {
      this.lint(
        'lintShortPathLiterals',
        token,
        () => `relative path literal '${text}' should be prefixed with '.' for clarity: './${text}'`,
      );
    }
    return { kind: 'path', value: canonicalPath(text, this.options.basePath) + slash };
  }

  private parsePath(): Expr {
    const token = this.at++;
    const pos = this.pos(token);
    const first = this.parsePathStart(token);
    const parts: { pos: Pos; expr: Expr }[] = [{ pos, expr: first }];
    for (;;) {
      const kind = this.kinds[this.at];
      const partPos = this.pos(this.at);
      if (kind === T.PathEnd) {
        this.at++;
        break;
      }
      if (kind === T.Str) {
        parts.push({ pos: partPos, expr: { kind: 'string', value: this.tokens.texts.get(this.at)! } });
        this.at++;
      } else if (kind === T.DollarCurly) parts.push({ pos: partPos, expr: this.parseInterpolation() });
      else this.unexpected([T.PathEnd, T.DollarCurly]);
    }
    return parts.length === 1 ? first : { kind: 'concat', pos, forceString: false, parts };
  }

  // --- attribute paths and bindings

  private parseAttrName(expected: readonly number[] = attrStart): AttrName {
    const token = this.at;
    switch (this.kinds[token]!) {
      case T.Id:
      case T.OrKeyword:
        this.at++;
        return { symbol: this.symbol(token) };
      case CH.quote:
        this.at++;
        return this.asAttrName(this.parseStringParts());
      case T.DollarCurly:
        return this.asAttrName(this.parseInterpolation());
      default:
        return this.unexpected(expected);
    }
  }

  private asAttrName(expr: Expr): AttrName {
    return expr.kind === 'string' ? { symbol: intern(expr.value) } : { expr };
  }

  private parseAttrPath(): AttrName[] {
    const path = [this.parseAttrName()];
    while (this.kinds[this.at] === CH.dot) {
      this.at++;
      path.push(this.parseAttrName());
    }
    return path;
  }

  private makeAttrs(pos: Pos): AttrsExpr {
    return { kind: 'attrs', pos, recursive: false, attrs: new Map(), dynamic: [], inheritFrom: [] };
  }

  private parseBinds(attrs: AttrsExpr, end: number, plainSet = false): void {
    for (;;) {
      const start = this.at;
      const kind = this.kinds[start]!;
      if (kind === end) return;
      if (kind === T.Inherit) {
        this.parseInherit(attrs);
        continue;
      }
      if (!(attrStart as readonly number[]).includes(kind)) {
        this.unexpected(end === CH.closeSet && plainSet ? [T.Inherit] : this.bindsExpected(end));
      }
      const path = this.parseAttrPath();
      this.expect(CH.equals, [CH.dot, CH.equals]);
      const valueToken = this.at;
      const value = this.parseExpr();
      this.expect(CH.semicolon);
      this.addAttr(attrs, path, { expr: value, pos: this.pos(start), source: 'plain' });
      const doc = this.tokens.docComments.get(this.starts[start]!);
      if (doc !== undefined && this.tokens.docComments.get(this.starts[valueToken]!) === undefined) {
        this.attachDoc(value, doc);
      }
    }
  }

  private bindsExpected(end: number): readonly number[] {
    if (end === T.In) return [T.In, T.Inherit];
    return end === T.End ? [T.Inherit] : [T.Inherit, end];
  }

  private parseInherit(attrs: AttrsExpr): void {
    this.at++;
    let from: InheritFromExpr | undefined;
    if (this.kinds[this.at] === CH.open) {
      this.at++;
      const pos = this.pos(this.at);
      const source = this.parseExpr();
      this.expect(CH.close);
      from = { kind: 'inherit-from', pos, index: attrs.inheritFrom.length };
      attrs.inheritFrom.push(source);
    }
    while (this.kinds[this.at] !== CH.semicolon) {
      const pos = this.pos(this.at);
      const name = this.parseAttrName([]);
      if (name.symbol === undefined) this.fail('dynamic attributes not allowed in inherit', pos);
      const symbol = name.symbol;
      const previous = attrs.attrs.get(symbol);
      if (previous !== undefined) this.duplicate([name], pos, previous.pos);
      const expr: Expr =
        from === undefined
          ? makeVar(pos, symbol)
          : { kind: 'select', pos, target: from, path: [name], fallback: undefined };
      attrs.attrs.set(symbol, { expr, pos, source: from === undefined ? 'inherited' : 'inherited-from' });
    }
    this.at++;
  }

  private duplicate(path: readonly AttrName[], pos: Pos, previous: Pos): never {
    return this.fail(`attribute '${showAttrPath(path)}' already defined at ${formatPosition(previous)}`, pos);
  }

  private addAttr(target: AttrsExpr, path: readonly AttrName[], definition: AttrDefinition): void {
    let attrs = target;
    const { pos } = definition;
    for (let i = 0; i < path.length - 1; i++) {
      const name = path[i]!;
      let nested: AttrsExpr;
      if (name.symbol !== undefined) {
        const existing = attrs.attrs.get(name.symbol);
        if (existing === undefined) {
          nested = this.makeAttrs(noPos);
          attrs.attrs.set(name.symbol, { expr: nested, pos, source: 'plain' });
        } else if (existing.expr.kind === 'attrs') nested = existing.expr;
        else this.duplicate(path.slice(0, i + 1), pos, existing.pos);
      } else {
        nested = this.makeAttrs(noPos);
        attrs.dynamic.push({ name: name.expr, value: nested, pos });
      }
      attrs = nested;
    }
    const last = path[path.length - 1]!;
    if (last.symbol === undefined) attrs.dynamic.push({ name: last.expr, value: definition.expr, pos });
    else this.insertAttr(attrs, path, last.symbol, definition);
  }

  private insertAttr(
    attrs: AttrsExpr,
    path: readonly AttrName[],
    symbol: number,
    definition: AttrDefinition,
  ): void {
    const existing = attrs.attrs.get(symbol);
    if (existing === undefined) {
      attrs.attrs.set(symbol, definition);
      nameLambda(definition.expr, symbol);
      return;
    }
    const into = existing.expr;
    const added = definition.expr;
    if (into.kind !== 'attrs' || added.kind !== 'attrs') this.duplicate(path, definition.pos, existing.pos);
    const shift = into.inheritFrom.length;
    for (const [name, inner] of added.attrs) {
      const moved = inner.source === 'inherited-from' ? shiftInheritFrom(inner, shift) : inner;
      this.insertAttr(into, [...path, { symbol: name }], name, moved);
    }
    into.dynamic.push(...added.dynamic);
    into.inheritFrom.push(...added.inheritFrom);
  }
}

/** An `inherit (from)` definition moved to a set that already has `shift` sources. */
function shiftInheritFrom(definition: AttrDefinition, shift: number): AttrDefinition {
  const select = definition.expr as SelectExpr;
  const from = select.target as InheritFromExpr;
  return { ...definition, expr: { ...select, target: { ...from, index: from.index + shift } } };
}

/**
 * Parses one source (bytes). Gives the expression with variables not bound yet (see `bindVariables`).
 * @throws NixError of kind `parse`, with Nix's message and position.
 */
export function parseSource(source: string, origin: Origin, options: ParseOptions): Expr {
  return new Parser(source, addOrigin(origin, source.length), options).parseWhole();
}

/** Parses the definitions typed at the interactive prompt, as one set. */
export function parseBindings(source: string, origin: Origin, options: ParseOptions): AttrsExpr {
  return new Parser(source, addOrigin(origin, source.length), options).parseBindings();
}

/** The text of the warning for an `x or` that a later Nix will read differently. */
export function cursedOrWarning(place: string, snippet: string | undefined): string {
  return (
    `at ${place}: This expression uses \`or\` as an identifier in a way that will change in a future Nix release.\n` +
    'Wrap this entire expression in parentheses to preserve its current meaning:\n' +
    `    (${snippet ?? 'could not read expression'})\n` +
    'Give feedback at https://github.com/NixOS/nix/pull/11121'
  );
}
