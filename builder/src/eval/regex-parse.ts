/** A node of a POSIX extended regular expression over bytes. */
export type RegexNode =
  | { readonly kind: 'set'; readonly members: ReadonlySet<number> }
  | { readonly kind: 'any' }
  | { readonly kind: 'start' }
  | { readonly kind: 'end' }
  | { readonly kind: 'group'; readonly index: number; readonly body: RegexNode }
  | { readonly kind: 'sequence'; readonly parts: readonly RegexNode[] }
  | { readonly kind: 'choice'; readonly branches: readonly RegexNode[] }
  | { readonly kind: 'repeat'; readonly body: RegexNode; readonly min: number; readonly max: number };

/** Why a regular expression was refused. */
export class RegexError extends Error {
  readonly space: boolean;
  constructor(message: string, space = false) {
    super(message);
    this.name = 'RegexError';
    this.space = space;
  }
}

/** The characters that may follow a backslash: libstdc++ refuses to escape others. */
const SPECIAL: ReadonlySet<number> = new Set([...'.[\\()*+?{|^$'].map((c) => c.charCodeAt(0)));

/** The number of states at which libstdc++ gives up. */
const STATE_LIMIT = 100_000;

const ranges = (...pairs: readonly (readonly [number, number])[]): Set<number> => {
  const members = new Set<number>();
  for (const [low, high] of pairs) for (let c = low; c <= high; c++) members.add(c);
  return members;
};

/** The character classes of the C locale. */
const classes: Readonly<Record<string, () => Set<number>>> = {
  alpha: () => ranges([65, 90], [97, 122]),
  digit: () => ranges([48, 57]),
  alnum: () => ranges([48, 57], [65, 90], [97, 122]),
  upper: () => ranges([65, 90]),
  lower: () => ranges([97, 122]),
  space: () => ranges([9, 13], [32, 32]),
  blank: () => ranges([9, 9], [32, 32]),
  punct: () => ranges([33, 47], [58, 64], [91, 96], [123, 126]),
  print: () => ranges([32, 126]),
  graph: () => ranges([33, 126]),
  cntrl: () => ranges([0, 31], [127, 127]),
  xdigit: () => ranges([48, 57], [65, 70], [97, 102]),
  w: () => ranges([48, 57], [65, 90], [95, 95], [97, 122]),
  d: () => ranges([48, 57]),
  s: () => ranges([9, 13], [32, 32]),
};

class RegexParser {
  groups = 0;
  private readonly source: string;
  private at = 0;
  private states = 0;

  constructor(source: string) {
    this.source = source;
  }

  parse(): RegexNode {
    const node = this.choice();
    if (this.at < this.source.length) throw new RegexError('unexpected character');
    return node;
  }

  private count(states: number): void {
    this.states += states;
    if (this.states > STATE_LIMIT) throw new RegexError('too many states', true);
  }

  private choice(): RegexNode {
    const branches = [this.sequence()];
    while (this.source[this.at] === '|') {
      this.at++;
      branches.push(this.sequence());
      this.count(2);
    }
    return branches.length === 1 ? branches[0]! : { kind: 'choice', branches };
  }

  private sequence(): RegexNode {
    const parts: RegexNode[] = [];
    for (;;) {
      const before = this.states;
      const part = this.atom();
      if (part === undefined) break;
      parts.push(part.kind === 'start' || part.kind === 'end' ? part : this.quantified(part, before));
    }
    return parts.length === 1 ? parts[0]! : { kind: 'sequence', parts };
  }

  private atom(): RegexNode | undefined {
    const c = this.source[this.at];
    if (c === undefined || c === '|' || c === ')' || c === '*' || c === '+' || c === '?') return undefined;
    if (c === '{') throw new RegexError('interval without an operand');
    this.at++;
    this.count(1);
    switch (c) {
      case '^':
        return { kind: 'start' };
      case '$':
        return { kind: 'end' };
      case '.':
        return { kind: 'any' };
      case '[':
        return this.bracket();
      case '(': {
        const index = ++this.groups;
        const body = this.choice();
        if (this.source[this.at] !== ')') throw new RegexError('unclosed group');
        this.at++;
        this.count(2);
        return { kind: 'group', index, body };
      }
      case '\\': {
        const escaped = this.source.charCodeAt(this.at);
        if (Number.isNaN(escaped)) throw new RegexError('trailing backslash');
        if (!SPECIAL.has(escaped)) throw new RegexError('needless escape');
        this.at++;
        return { kind: 'set', members: new Set([escaped]) };
      }
      default:
        return { kind: 'set', members: new Set([c.charCodeAt(0)]) };
    }
  }

  private quantified(operand: RegexNode, statesBefore: number): RegexNode {
    let node = operand;
    for (;;) {
      const c = this.source[this.at];
      const size = this.states - statesBefore;
      if (c === '*') node = { kind: 'repeat', body: node, min: 0, max: Number.POSITIVE_INFINITY };
      else if (c === '+') node = { kind: 'repeat', body: node, min: 1, max: Number.POSITIVE_INFINITY };
      else if (c === '?') node = { kind: 'repeat', body: node, min: 0, max: 1 };
      else if (c === '{') {
        node = this.interval(node, size);
        continue;
      } else return node;
      this.at++;
      this.count(1);
    }
  }

  private interval(body: RegexNode, size: number): RegexNode {
    const match = /^\{(\d+)(,(\d*))?\}/.exec(this.source.slice(this.at));
    if (match === null) throw new RegexError('malformed interval');
    this.at += match[0].length;
    const min = Number(match[1]);
    let max = min;
    if (match[2] !== undefined) max = match[3] === '' ? Number.POSITIVE_INFINITY : Number(match[3]);
    if (max < min) throw new RegexError('interval runs backwards');
    const copies = max === Number.POSITIVE_INFINITY ? min + 1 : max;
    this.count(Math.max(0, copies - 1) * size);
    return { kind: 'repeat', body, min, max };
  }

  /** `[.x.]`, `[=x=]` or `[:class:]` after its opening; undefined for an ordinary member. */
  private special(members: Set<number>): boolean {
    const match = /^\[([.=:])([\s\S]*?)\1\]/.exec(this.source.slice(this.at));
    if (match === null) return false;
    const [whole, kind, name] = match as unknown as [string, string, string];
    this.at += whole.length;
    if (kind === ':') {
      const members2 = Object.hasOwn(classes, name) ? classes[name]!() : undefined;
      if (members2 === undefined) throw new RegexError('unknown character class');
      for (const c of members2) members.add(c);
    } else {
      if (name.length !== 1) throw new RegexError('unknown collating element');
      members.add(name.charCodeAt(0));
    }
    return true;
  }

  private bracket(): RegexNode {
    const members = new Set<number>();
    const negated = this.source[this.at] === '^';
    if (negated) this.at++;
    for (let first = true; ; first = false) {
      const c = this.source[this.at];
      if (c === undefined) throw new RegexError('unclosed bracket');
      if (c === ']' && !first) break;
      if (c === '[' && this.special(members)) continue;
      this.at++;
      const low = c.charCodeAt(0);
      const next = this.source[this.at + 1];
      if (this.source[this.at] === '-' && next !== undefined && next !== ']') {
        this.at++;
        let high = next.charCodeAt(0);
        this.at++;
        if (next === '[') {
          const end = /^([.=])([\s\S])\1\]/.exec(this.source.slice(this.at));
          if (end !== null) {
            high = end[2]!.charCodeAt(0);
            this.at += end[0].length;
          }
        }
        if (high < low) throw new RegexError('range runs backwards');
        for (let i = low; i <= high; i++) members.add(i);
      } else members.add(low);
    }
    this.at++;
    if (!negated) return { kind: 'set', members };
    const others = new Set<number>();
    for (let c = 0; c < 256; c++) if (!members.has(c)) others.add(c);
    return { kind: 'set', members: others };
  }
}

/**
 * Parses a POSIX extended regular expression as libstdc++ reads it.
 * @throws RegexError
 */
export function parseRegex(source: string): { root: RegexNode; groups: number } {
  const parser = new RegexParser(source);
  const root = parser.parse();
  return { root, groups: parser.groups };
}
