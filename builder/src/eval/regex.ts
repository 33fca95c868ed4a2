import { parseRegex, type RegexNode } from './regex-parse.js';

/** A match: where it starts and ends, and the text of each group, undefined for those that took no part. */
export interface RegexMatch {
  readonly start: number;
  readonly end: number;
  readonly groups: readonly (string | undefined)[];
}

/** A compiled regular expression with POSIX semantics: of all matches at the leftmost place, the longest. */
export interface Regex {
  /** A match of the whole text. */
  matchAll(text: string): RegexMatch | undefined;
  /** The first match at or after `from`. */
  search(text: string, from: number): RegexMatch | undefined;
}

/** The length every match of a node has; undefined if they vary. */
function fixedLength(node: RegexNode): number | undefined {
  switch (node.kind) {
    case 'set':
    case 'any':
      return 1;
    case 'start':
    case 'end':
      return 0;
    case 'group':
      return fixedLength(node.body);
    case 'sequence': {
      let total = 0;
      for (const part of node.parts) {
        const length = fixedLength(part);
        if (length === undefined) return undefined;
        total += length;
      }
      return total;
    }
    case 'choice': {
      const lengths = node.branches.map(fixedLength);
      return lengths.every((length) => length === lengths[0]) ? lengths[0] : undefined;
    }
    case 'repeat': {
      const length = fixedLength(node.body);
      return node.min === node.max && length !== undefined ? length * node.min : undefined;
    }
  }
}

function hasGroup(node: RegexNode): boolean {
  switch (node.kind) {
    case 'group':
      return true;
    case 'sequence':
      return node.parts.some(hasGroup);
    case 'choice':
      return node.branches.some(hasGroup);
    case 'repeat':
      return hasGroup(node.body);
    case 'set':
    case 'any':
    case 'start':
    case 'end':
      return false;
  }
}

function canBeEmpty(node: RegexNode): boolean {
  switch (node.kind) {
    case 'set':
    case 'any':
      return false;
    case 'start':
    case 'end':
      return true;
    case 'group':
      return canBeEmpty(node.body);
    case 'sequence':
      return node.parts.every(canBeEmpty);
    case 'choice':
      return node.branches.some(canBeEmpty);
    case 'repeat':
      return node.min === 0 || canBeEmpty(node.body);
  }
}

/** Whether JavaScript's engine gives the same groups: it forgets inner groups at each round of a repetition. */
function sameGroups(node: RegexNode): boolean {
  switch (node.kind) {
    case 'group':
      return sameGroups(node.body);
    case 'sequence':
      return node.parts.every(sameGroups);
    case 'choice':
      return node.branches.every(sameGroups);
    case 'repeat': {
      const { body } = node;
      if (!hasGroup(body)) return !canBeEmpty(body) || node.max <= 1;
      return body.kind === 'group' && !hasGroup(body.body) && !canBeEmpty(body.body);
    }
    case 'set':
    case 'any':
    case 'start':
    case 'end':
      return true;
  }
}

/** Whether the first match a greedy engine finds is also the longest. */
function greedyIsLongest(node: RegexNode): boolean {
  switch (node.kind) {
    case 'group':
      return greedyIsLongest(node.body);
    case 'sequence':
      return node.parts.every(greedyIsLongest);
    case 'choice':
      return fixedLength(node) !== undefined;
    case 'repeat':
      return node.body.kind === 'set' || node.body.kind === 'any' || fixedLength(node) !== undefined;
    case 'set':
    case 'any':
    case 'start':
    case 'end':
      return true;
  }
}

const hex = (c: number): string => `\\x${c.toString(16).padStart(2, '0')}`;

function setSource(members: ReadonlySet<number>): string {
  if (members.size === 1) return hex([...members][0]!);
  if (members.size === 0) return '[^\\x00-\\xff]';
  let out = '';
  for (let c = 0; c < 256; c++) {
    if (!members.has(c)) continue;
    let end = c;
    while (end < 255 && members.has(end + 1)) end++;
    out += end === c ? hex(c) : `${hex(c)}-${hex(end)}`;
    c = end;
  }
  return `[${out}]`;
}

function toSource(node: RegexNode): string {
  switch (node.kind) {
    case 'set':
      return setSource(node.members);
    case 'any':
      return '[^\\x00]';
    case 'start':
      return '^';
    case 'end':
      return '$';
    case 'group':
      return `(${toSource(node.body)})`;
    case 'sequence':
      return node.parts.map(toSource).join('');
    case 'choice':
      return `(?:${node.branches.map(toSource).join('|')})`;
    case 'repeat': {
      const max = node.max === Number.POSITIVE_INFINITY ? '' : node.max;
      return `(?:${toSource(node.body)}){${node.min},${max}}`;
    }
  }
}

type Continue = (at: number) => boolean;

/** A backtracking matcher that tries every way and keeps the longest, as libstdc++ does for POSIX expressions. */
class ExhaustiveMatcher {
  private readonly text: string;
  private readonly root: RegexNode;
  private starts: (number | undefined)[];
  private ends: (number | undefined)[];
  private readonly origin: number;
  private bestEnd = -1;
  private best: { starts: (number | undefined)[]; ends: (number | undefined)[] } | undefined;

  constructor(root: RegexNode, groups: number, text: string, origin: number) {
    this.root = root;
    this.text = text;
    this.origin = origin;
    this.starts = new Array<number | undefined>(groups + 1).fill(undefined);
    this.ends = [...this.starts];
  }

  run(whole: boolean): RegexMatch | undefined {
    this.match(this.root, this.origin, (at) => {
      if (whole && at !== this.text.length) return false;
      if (at > this.bestEnd) {
        this.bestEnd = at;
        this.best = { starts: [...this.starts], ends: [...this.ends] };
      }
      return at === this.text.length;
    });
    const { best } = this;
    if (best === undefined) return undefined;
    const groups = best.starts.slice(1).map((start, i) => {
      const end = best.ends[i + 1];
      return start === undefined || end === undefined ? undefined : this.text.slice(start, end);
    });
    return { start: this.origin, end: this.bestEnd, groups };
  }

  /** Matches a node at a place; true ends the search because nothing longer can be found. */
  private match(node: RegexNode, at: number, next: Continue): boolean {
    switch (node.kind) {
      case 'set':
        return node.members.has(this.text.charCodeAt(at)) && next(at + 1);
      case 'any':
        return at < this.text.length && this.text.charCodeAt(at) !== 0 && next(at + 1);
      case 'start':
        return at === 0 && next(at);
      case 'end':
        return at === this.text.length && next(at);
      case 'group':
        return this.matchGroup(node.index, node.body, at, next);
      case 'sequence':
        return this.matchSequence(node.parts, 0, at, next);
      case 'choice':
        return node.branches.some((branch) => this.match(branch, at, next));
      case 'repeat':
        return this.matchRepeat(node, 0, at, next);
    }
  }

  private matchGroup(index: number, body: RegexNode, at: number, next: Continue): boolean {
    const { [index]: start } = this.starts;
    const { [index]: end } = this.ends;
    this.starts[index] = at;
    const found = this.match(body, at, (after) => {
      const previous = this.ends[index];
      this.ends[index] = after;
      const done = next(after);
      this.ends[index] = previous;
      return done;
    });
    this.starts[index] = start;
    this.ends[index] = end;
    return found;
  }

  private matchSequence(parts: readonly RegexNode[], index: number, at: number, next: Continue): boolean {
    if (index === parts.length) return next(at);
    return this.match(parts[index]!, at, (after) => this.matchSequence(parts, index + 1, after, next));
  }

  private matchRepeat(
    node: Extract<RegexNode, { kind: 'repeat' }>,
    count: number,
    at: number,
    next: Continue,
  ): boolean {
    if (count < node.max) {
      const found = this.match(node.body, at, (after) => {
        if (after === at && count >= node.min) return false;
        return this.matchRepeat(node, count + 1, after, next);
      });
      if (found) return true;
    }
    return count >= node.min && next(at);
  }
}

function fromNative(match: RegExpExecArray): RegexMatch {
  const [whole, ...groups] = match;
  return { start: match.index, end: match.index + whole.length, groups };
}

/**
 * Compiles a POSIX extended regular expression over bytes.
 * @throws RegexError for one that libstdc++ would refuse.
 */
export function compileRegex(source: string): Regex {
  const { root, groups } = parseRegex(source);
  const native = sameGroups(root);
  const pattern = native ? toSource(root) : '';
  const whole = native ? new RegExp(`^(?:${pattern})$`) : undefined;
  const finder = native && greedyIsLongest(root) ? new RegExp(pattern, 'g') : undefined;
  return {
    matchAll(text) {
      if (whole === undefined) return new ExhaustiveMatcher(root, groups, text, 0).run(true);
      const match = whole.exec(text);
      return match === null ? undefined : fromNative(match);
    },
    search(text, from) {
      if (finder !== undefined) {
        finder.lastIndex = from;
        const match = finder.exec(text);
        return match === null ? undefined : fromNative(match);
      }
      for (let at = from; at <= text.length; at++) {
        const match = new ExhaustiveMatcher(root, groups, text, at).run(false);
        if (match !== undefined) return match;
      }
      return undefined;
    },
  };
}
