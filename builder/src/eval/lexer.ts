import { toByteText } from './byte-text.js';
import { NixError } from './errors.js';

/** Token kinds. Single-character tokens use their character code; the rest count from 256. */
export const T = {
  End: 0,
  Invalid: 1,
  Id: 256,
  Str: 257,
  IndStr: 258,
  Int: 259,
  Float: 260,
  Path: 261,
  HomePath: 262,
  SearchPath: 263,
  PathEnd: 264,
  Uri: 265,
  If: 266,
  Then: 267,
  Else: 268,
  Assert: 269,
  With: 270,
  Let: 271,
  In: 272,
  Rec: 273,
  Inherit: 274,
  Eq: 275,
  Neq: 276,
  Leq: 277,
  Geq: 278,
  Update: 279,
  Concat: 280,
  And: 281,
  Or: 282,
  Implies: 283,
  OrKeyword: 284,
  PipeFrom: 285,
  PipeInto: 286,
  DollarCurly: 287,
  IndOpen: 288,
  IndClose: 289,
  Ellipsis: 290,
  Error: 291,
} as const;

const tokenNames: Readonly<Record<number, string>> = {
  [T.End]: 'end of file',
  [T.Invalid]: 'invalid token',
  [T.Id]: 'identifier',
  [T.Str]: 'string',
  [T.IndStr]: 'indented string',
  [T.Int]: 'integer',
  [T.Float]: 'floating-point literal',
  [T.Path]: 'path',
  [T.HomePath]: toByteText("'~/…' path"),
  [T.SearchPath]: toByteText("'<…>' path"),
  [T.PathEnd]: 'end of path',
  [T.Uri]: 'URI',
  [T.If]: "'if'",
  [T.Then]: "'then'",
  [T.Else]: "'else'",
  [T.Assert]: "'assert'",
  [T.With]: "'with'",
  [T.Let]: "'let'",
  [T.In]: "'in'",
  [T.Rec]: "'rec'",
  [T.Inherit]: "'inherit'",
  [T.Eq]: "'=='",
  [T.Neq]: "'!='",
  [T.Leq]: "'<='",
  [T.Geq]: "'>='",
  [T.Update]: "'//'",
  [T.Concat]: "'++'",
  [T.And]: "'&&'",
  [T.Or]: "'||'",
  [T.Implies]: "'->'",
  [T.OrKeyword]: "'or'",
  [T.PipeFrom]: "'<|'",
  [T.PipeInto]: "'|>'",
  [T.DollarCurly]: "'${'",
  [T.IndOpen]: 'start of an indented string',
  [T.IndClose]: 'end of an indented string',
  [T.Ellipsis]: "'...'",
};

/** How messages name a token kind. */
export function tokenName(kind: number): string {
  const name = tokenNames[kind];
  if (name !== undefined) return name;
  const character = String.fromCharCode(kind);
  return character === '"' ? "'\"'" : `'${character}'`;
}

const keywords = new Map<string, number>([
  ['if', T.If],
  ['then', T.Then],
  ['else', T.Else],
  ['assert', T.Assert],
  ['with', T.With],
  ['let', T.Let],
  ['in', T.In],
  ['rec', T.Rec],
  ['inherit', T.Inherit],
  ['or', T.OrKeyword],
]);

const PATH_CHAR = 1;
const ID_START = 2;
const ID_CHAR = 4;
const URI_CHAR = 8;
const SCHEME_CHAR = 16;
const DIGIT = 32;
const LETTER = 64;
const PUNCTUATION = 128;

const classes = buildClasses();

function buildClasses(): Uint8Array {
  const table = new Uint8Array(256);
  const add = (characters: string, bits: number) => {
    for (let i = 0; i < characters.length; i++) table[characters.charCodeAt(i)]! |= bits;
  };
  const letters = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ';
  add(letters, PATH_CHAR | ID_START | ID_CHAR | URI_CHAR | SCHEME_CHAR | LETTER);
  add('0123456789', PATH_CHAR | ID_CHAR | URI_CHAR | SCHEME_CHAR | DIGIT);
  add('._-+', PATH_CHAR);
  add('_', ID_START);
  add("_'-", ID_CHAR);
  add("%/?:@&=+$,-_.!~*'", URI_CHAR);
  add('+-.', SCHEME_CHAR);
  add(':@;.=,?!<>+-*/()[]{}"', PUNCTUATION);
  return table;
}

const NEWLINE = 10;
const CARRIAGE_RETURN = 13;
const QUOTE = 34;
const DOLLAR = 36;
const APOSTROPHE = 39;
const DOT = 46;
const SLASH = 47;
const COLON = 58;
const LESS = 60;
const GREATER = 62;
const BACKSLASH = 92;
const OPEN_BRACE = 123;
const CLOSE_BRACE = 125;

type Mode = 'initial' | 'default' | 'string' | 'indented' | 'path' | 'path-slash';

/** The tokens of one source: three parallel arrays, and the lexical error met, if any, at an `Error` token. */
export interface Tokens {
  readonly kinds: number[];
  readonly starts: number[];
  readonly ends: number[];
  /** The texts of string tokens whose escapes were undone, by token index. */
  readonly texts: Map<number, string>;
  readonly error: { text: string; start: number } | undefined;
  /** Doc comments (start, end) by the offset of the token they stand before. */
  readonly docComments: ReadonlyMap<number, readonly [number, number]>;
}

/** Undoes the escapes of a plain string and normalises line ends to LF. */
function undoEscapes(raw: string): string {
  if (!/[\\\r]/.test(raw)) return raw;
  return raw.replace(/\\([\s\S])|\r\n?/g, (_, escaped: string | undefined) => {
    if (escaped === undefined) return '\n';
    if (escaped === 'n') return '\n';
    if (escaped === 'r') return '\r';
    if (escaped === 't') return '\t';
    return escaped;
  });
}

class Lexer {
  readonly kinds: number[] = [];
  readonly starts: number[] = [];
  readonly ends: number[] = [];
  readonly texts = new Map<number, string>();
  readonly docComments = new Map<number, readonly [number, number]>();
  error: { text: string; start: number } | undefined;
  private readonly source: string;
  private readonly pipes: boolean;
  private readonly modes: Mode[] = ['initial'];
  private at = 0;
  private done = false;
  private docStart = -1;
  private docEnd = -1;

  constructor(source: string, pipes: boolean) {
    this.source = source;
    this.pipes = pipes;
  }

  run(): void {
    while (!this.done) {
      switch (this.modes[this.modes.length - 1]!) {
        case 'string':
          this.lexString();
          break;
        case 'indented':
          this.lexIndented();
          break;
        case 'path':
        case 'path-slash':
          this.lexPathRest();
          break;
        case 'initial':
        case 'default':
          this.lexDefault();
      }
    }
  }

  private push(kind: number, start: number, end: number): void {
    if (this.docStart >= 0) {
      this.docComments.set(start, [this.docStart, this.docEnd]);
      this.docStart = -1;
    }
    this.kinds.push(kind);
    this.starts.push(start);
    this.ends.push(end);
    this.at = end;
  }

  private pushEnd(start: number, end: number): void {
    this.push(T.End, start, end);
    this.done = true;
  }

  private fail(text: string, start: number): void {
    this.error = { text, start };
    this.push(T.Error, start, start);
    this.done = true;
  }

  private pushText(kind: number, start: number, end: number, text: string): void {
    if (text.includes('\0')) {
      const shown = text.replaceAll('\0', toByteText('␀'));
      this.fail(
        `input string '${shown}' cannot be represented as Nix string because it contains null bytes`,
        start,
      );
      return;
    }
    this.texts.set(this.kinds.length, text);
    this.push(kind, start, end);
  }

  private lexString(): void {
    const { source } = this;
    const start = this.at;
    let i = start;
    let endOfInput = false;
    for (;;) {
      if (i >= source.length) {
        endOfInput = true;
        break;
      }
      const c = source.charCodeAt(i);
      if (c === QUOTE) break;
      if (c === BACKSLASH) {
        if (i + 1 >= source.length) break;
        i += 2;
      } else if (c === DOLLAR) {
        const next = source.charCodeAt(i + 1);
        if (next === OPEN_BRACE || i + 1 >= source.length) break;
        if (next === QUOTE) {
          i++;
          break;
        }
        if (next === BACKSLASH) {
          if (i + 2 >= source.length) break;
          i += 3;
        } else i += 2;
      } else i++;
    }
    if (i > start) {
      this.pushText(T.Str, start, i, undoEscapes(source.slice(start, i)));
      return;
    }
    const c = source.charCodeAt(i);
    if (!endOfInput && c === QUOTE) {
      this.push(QUOTE, i, i + 1);
      this.modes.pop();
    } else if (!endOfInput && c === DOLLAR && source.charCodeAt(i + 1) === OPEN_BRACE) {
      this.push(T.DollarCurly, i, i + 2);
      this.modes.push('default');
    } else this.pushEnd(i, source.length);
  }

  private lexIndented(): void {
    const { source } = this;
    const start = this.at;
    let i = start;
    const end = source.length;
    while (i < end) {
      const c = source.charCodeAt(i);
      if (c !== DOLLAR && c !== APOSTROPHE) i++;
      else if (i + 1 >= end) break;
      else {
        const next = source.charCodeAt(i + 1);
        if (next === APOSTROPHE) break;
        if (c === DOLLAR ? next === OPEN_BRACE : next === DOLLAR) break;
        i += 2;
      }
    }
    if (i > start) {
      this.pushText(T.IndStr, start, i, source.slice(start, i));
      return;
    }
    if (i >= end) {
      this.pushEnd(i, i);
      return;
    }
    this.lexIndentedSpecial(i);
  }

  private lexIndentedSpecial(i: number): void {
    const { source } = this;
    const special = (text: string, length: number) => {
      this.texts.set(this.kinds.length, text);
      this.escapedIndented.add(this.kinds.length);
      this.push(T.IndStr, i, i + length);
    };
    if (source.charCodeAt(i) === DOLLAR) {
      if (source.charCodeAt(i + 1) === OPEN_BRACE) {
        this.push(T.DollarCurly, i, i + 2);
        this.modes.push('default');
      } else special('$', 1);
      return;
    }
    if (source.charCodeAt(i + 1) !== APOSTROPHE) {
      special("'", 1);
      return;
    }
    const third = source.charCodeAt(i + 2);
    if (third === DOLLAR) special('$', 3);
    else if (third === APOSTROPHE) special("''", 3);
    else if (third === BACKSLASH && i + 3 < source.length) {
      special(undoEscapes(source.slice(i + 2, i + 4)), 4);
    } else {
      this.push(T.IndClose, i, i + 2);
      this.modes.pop();
    }
  }

  /** Indented-string tokens that were escapes: they end a line's leading space but have none. */
  readonly escapedIndented = new Set<number>();

  private lexPathRest(): void {
    const { source } = this;
    const i = this.at;
    const slash = this.modes[this.modes.length - 1] === 'path-slash';
    if (source.charCodeAt(i) === DOLLAR && source.charCodeAt(i + 1) === OPEN_BRACE) {
      this.modes[this.modes.length - 1] = 'path';
      this.modes.push('default');
      this.push(T.DollarCurly, i, i + 2);
      return;
    }
    let end = this.scanPath(i);
    if (end < 0) {
      end = this.scanPathChars(i);
      if (source.charCodeAt(end) === SLASH) end++;
    }
    if (end > i) {
      this.modes[this.modes.length - 1] = source.charCodeAt(end - 1) === SLASH ? 'path-slash' : 'path';
      this.texts.set(this.kinds.length, source.slice(i, end));
      this.push(T.Str, i, end);
    } else if (slash) this.fail('path has a trailing slash', i);
    else {
      this.modes.pop();
      this.push(T.PathEnd, i, i);
    }
  }

  private scanPathChars(i: number): number {
    const { source } = this;
    while (i < source.length && classes[source.charCodeAt(i)]! & PATH_CHAR) i++;
    return i;
  }

  /** The end of `[path chars]*(/[path chars]+)+/?` at `i`, or -1. */
  private scanPath(i: number): number {
    const { source } = this;
    let end = this.scanPathChars(i);
    let found = false;
    while (source.charCodeAt(end) === SLASH && classes[source.charCodeAt(end + 1)]! & PATH_CHAR) {
      found = true;
      end = this.scanPathChars(end + 1);
    }
    if (!found) return -1;
    if (source.charCodeAt(end) === SLASH) end++;
    return end;
  }

  private scanUri(i: number): number {
    const { source } = this;
    let end = i;
    if (!(classes[source.charCodeAt(end)]! & LETTER)) return -1;
    while (classes[source.charCodeAt(end)]! & SCHEME_CHAR) end++;
    if (source.charCodeAt(end) !== COLON) return -1;
    const first = ++end;
    while (end < source.length && classes[source.charCodeAt(end)]! & URI_CHAR) end++;
    return end > first ? end : -1;
  }

  /** Skips white space and comments. An unclosed comment is left to be read as operators, as flex does. */
  private skipBlank(): void {
    const { source } = this;
    let i = this.at;
    for (;;) {
      const c = source.charCodeAt(i);
      if (c === 32 || c === NEWLINE || c === 9 || c === CARRIAGE_RETURN) i++;
      else if (c === 35) {
        while (
          i < source.length &&
          source.charCodeAt(i) !== NEWLINE &&
          source.charCodeAt(i) !== CARRIAGE_RETURN
        )
          i++;
      } else if (c === SLASH && source.charCodeAt(i + 1) === 42) {
        const close = source.indexOf('*/', i + 2);
        if (close < 0) break;
        if (source.charCodeAt(i + 2) === 42 && close > i + 2) {
          const fourth = source.charCodeAt(i + 3);
          if (fourth !== SLASH && fourth !== 42) {
            this.docStart = i;
            this.docEnd = close + 2;
          }
        }
        i = close + 2;
      } else break;
    }
    this.at = i;
  }

  private lexDefault(): void {
    this.skipBlank();
    const { source } = this;
    const i = this.at;
    if (i >= source.length) {
      this.pushEnd(i, i);
      return;
    }
    const c = source.charCodeAt(i);
    const cls = classes[c]!;
    if (cls & ID_START) this.lexWord(i);
    else if (cls & DIGIT) this.lexNumber(i);
    else if (c === DOT || c === SLASH || c === 43 || c === 45) this.lexPathOrOperator(i);
    else if (c === 126) this.lexHomePath(i);
    else if (c === LESS) this.lexLess(i);
    else if (c === QUOTE) {
      this.push(QUOTE, i, i + 1);
      this.modes.push('string');
    } else if (c === APOSTROPHE && source.charCodeAt(i + 1) === APOSTROPHE) {
      let end = i + 2;
      let blank = end;
      while (source.charCodeAt(blank) === 32) blank++;
      if (source.charCodeAt(blank) === NEWLINE) end = blank + 1;
      this.push(T.IndOpen, i, end);
      this.modes.push('indented');
    } else if (c === DOLLAR && source.charCodeAt(i + 1) === OPEN_BRACE) {
      this.push(T.DollarCurly, i, i + 2);
      this.modes.push('default');
    } else if (c === OPEN_BRACE) {
      this.push(c, i, i + 1);
      this.modes.push('default');
    } else if (c === CLOSE_BRACE) {
      if (this.modes[this.modes.length - 1] !== 'initial') this.modes.pop();
      this.push(c, i, i + 1);
    } else this.lexOperator(i);
  }

  private startPath(kind: number, start: number, end: number): void {
    this.modes.push(this.source.charCodeAt(end - 1) === SLASH ? 'path-slash' : 'path');
    this.texts.set(this.kinds.length, this.source.slice(start, end));
    this.push(kind, start, end);
  }

  /** A path at `i`, also one whose first segment ends in an interpolation; false if there is none. */
  private tryPath(i: number): boolean {
    const { source } = this;
    const end = this.scanPath(i);
    if (end >= 0) {
      this.startPath(T.Path, i, end);
      return true;
    }
    const slash = this.scanPathChars(i);
    if (
      source.charCodeAt(slash) === SLASH &&
      source.charCodeAt(slash + 1) === DOLLAR &&
      source.charCodeAt(slash + 2) === OPEN_BRACE
    ) {
      this.startPath(T.Path, i, slash + 1);
      return true;
    }
    return false;
  }

  private lexWord(i: number): void {
    const { source } = this;
    let end = i + 1;
    while (end < source.length && classes[source.charCodeAt(end)]! & ID_CHAR) end++;
    const next = source.charCodeAt(end);
    if (next === SLASH || next === DOT || next === 43) {
      if (this.tryPath(i)) return;
    }
    if (next === COLON || next === DOT || next === 43) {
      const uri = this.scanUri(i);
      if (uri > end) {
        this.push(T.Uri, i, uri);
        return;
      }
    }
    const length = end - i;
    const keyword = length >= 2 && length <= 7 ? keywords.get(source.slice(i, end)) : undefined;
    this.push(keyword ?? T.Id, i, end);
  }

  private lexNumber(i: number): void {
    if (this.tryPath(i)) return;
    const { source } = this;
    let end = i;
    while (classes[source.charCodeAt(end)]! & DIGIT) end++;
    const float = this.scanFloat(i);
    if (float > end) this.push(T.Float, i, float);
    else this.push(T.Int, i, end);
  }

  /** The end of a floating-point literal at `i`, or -1. A leading zero may only stand alone before the dot. */
  private scanFloat(i: number): number {
    const { source } = this;
    let end = i;
    while (classes[source.charCodeAt(end)]! & DIGIT) end++;
    if (source.charCodeAt(end) !== DOT) return -1;
    const whole = end - i;
    end++;
    const fraction = end;
    while (classes[source.charCodeAt(end)]! & DIGIT) end++;
    const leadingNonZero = whole > 0 && source.charCodeAt(i) !== 48;
    const shortForm = (whole === 0 || (whole === 1 && source.charCodeAt(i) === 48)) && end > fraction;
    if (!leadingNonZero && !shortForm) return -1;
    if ((source.charCodeAt(end) | 32) === 101) {
      let exponent = end + 1;
      const sign = source.charCodeAt(exponent);
      if (sign === 43 || sign === 45) exponent++;
      if (classes[source.charCodeAt(exponent)]! & DIGIT) {
        while (classes[source.charCodeAt(exponent)]! & DIGIT) exponent++;
        end = exponent;
      }
    }
    return end;
  }

  private lexPathOrOperator(i: number): void {
    if (this.tryPath(i)) return;
    const { source } = this;
    if (source.charCodeAt(i) === DOT) {
      const float = this.scanFloat(i);
      if (float >= 0) {
        this.push(T.Float, i, float);
        return;
      }
      if (source.startsWith('...', i)) {
        this.push(T.Ellipsis, i, i + 3);
        return;
      }
    }
    this.lexOperator(i);
  }

  private lexHomePath(i: number): void {
    const { source } = this;
    if (source.charCodeAt(i + 1) === SLASH) {
      if (classes[source.charCodeAt(i + 2)]! & PATH_CHAR) {
        this.startPath(T.HomePath, i, this.scanPath(i + 1));
        return;
      }
      if (source.charCodeAt(i + 2) === DOLLAR && source.charCodeAt(i + 3) === OPEN_BRACE) {
        this.startPath(T.HomePath, i, i + 2);
        return;
      }
    }
    this.push(T.Invalid, i, i + 1);
  }

  private lexLess(i: number): void {
    const { source } = this;
    let end = this.scanPathChars(i + 1);
    if (end > i + 1) {
      while (source.charCodeAt(end) === SLASH && classes[source.charCodeAt(end + 1)]! & PATH_CHAR) {
        end = this.scanPathChars(end + 1);
      }
      if (source.charCodeAt(end) === GREATER) {
        this.push(T.SearchPath, i, end + 1);
        return;
      }
    }
    this.lexOperator(i);
  }

  private lexOperator(i: number): void {
    const { source } = this;
    const two = source.slice(i, i + 2);
    const kind = operators.get(two);
    if (kind !== undefined) {
      if ((kind === T.PipeFrom || kind === T.PipeInto) && !this.pipes) {
        this.fail(
          "experimental Nix feature 'pipe-operators' is disabled; add '--extra-experimental-features pipe-operators' to enable it",
          i,
        );
        return;
      }
      this.push(kind, i, i + 2);
      return;
    }
    const c = source.charCodeAt(i);
    this.push(classes[c]! & PUNCTUATION ? c : T.Invalid, i, i + 1);
  }
}

const operators = new Map<string, number>([
  ['==', T.Eq],
  ['!=', T.Neq],
  ['<=', T.Leq],
  ['>=', T.Geq],
  ['&&', T.And],
  ['||', T.Or],
  ['->', T.Implies],
  ['//', T.Update],
  ['++', T.Concat],
  ['<|', T.PipeFrom],
  ['|>', T.PipeInto],
]);

/**
 * Splits a source (bytes) into tokens, by Nix's lexical rules with the longest match winning.
 * Never throws: a lexical error is a token, so that an earlier syntax error is reported first.
 */
export function tokenize(source: string, pipes: boolean): Tokens & { escapedIndented: ReadonlySet<number> } {
  const lexer = new Lexer(source, pipes);
  lexer.run();
  return lexer;
}

/** The error a lexer met, at `base` plus its offset. */
export function lexicalError(tokens: Tokens, base: number): NixError {
  const error = tokens.error!;
  return new NixError('parse', error.text, base + error.start);
}
