import { noPos, type Pos } from './positions.js';

/** What kind of failure an evaluation error is; `throw` and `assertion` are what `tryEval` catches. */
export type NixErrorKind =
  | 'parse'
  | 'eval'
  | 'type'
  | 'throw'
  | 'assertion'
  | 'abort'
  | 'undefined-variable'
  | 'missing-argument'
  | 'infinite-recursion'
  | 'stack-overflow'
  | 'restricted-path'
  | 'invalid-path'
  | 'missing-attribute'
  | 'usage'
  | 'other';

/**
 * One line of an evaluation trace, and the lines inside it. `always` ones are shown without `--show-trace`.
 * A linked list, because a failed value keeps the trace it had: errors share their tails.
 */
export interface Trace {
  readonly pos: Pos;
  readonly text: string;
  readonly always: boolean;
  readonly inner: Trace | undefined;
}

/**
 * An error of the Nix program being evaluated. `text` (bytes, see byte-text) is the message without position
 * or trace. `formatNixError` makes of it what Nix prints.
 */
export class NixError extends Error {
  readonly kind: NixErrorKind;
  readonly text: string;
  pos: Pos;
  /** The outermost line of the trace so far. */
  outermost: Trace | undefined;
  suggestions: readonly string[] = [];
  /** The thunk an infinite recursion ran into, so that its first evaluation can mark the entry. */
  thunk: object | undefined;

  constructor(kind: NixErrorKind, text: string, pos: Pos = noPos) {
    super(text);
    this.name = 'NixError';
    this.kind = kind;
    this.text = text;
    this.pos = pos;
  }

  /** Adds one trace line around what was recorded so far. */
  trace(pos: Pos, text: string, always = false): this {
    this.outermost = { pos, text, always, inner: this.outermost };
    return this;
  }

  /** The same error to be thrown once more: with the trace of the first time, which it adds to no further. */
  replay(): NixError {
    const error = new NixError(this.kind, this.text, this.pos);
    error.outermost = this.outermost;
    error.suggestions = this.suggestions;
    return error;
  }

  /** Adds the close matches of `query` among `names`, as "Did you mean". */
  suggest(names: Iterable<string>, query: string): this {
    this.suggestions = closeMatches(names, query);
    return this;
  }
}

/** Adds a trace line if the error is the program's own, and gives it back to be thrown again. */
export function traced(error: unknown, pos: Pos, text: string): Error {
  if (error instanceof NixError) return error.trace(pos, text);
  return error as Error;
}

function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 0; i < a.length; i++) {
    const current = [i + 1];
    for (let j = 0; j < b.length; j++) {
      const substitution = previous[j]! + (a[i] === b[j] ? 0 : 1);
      current.push(Math.min(previous[j + 1]! + 1, current[j]! + 1, substitution));
    }
    previous = current;
  }
  return previous[b.length]!;
}

function closeMatches(names: Iterable<string>, query: string): string[] {
  const scored: { name: string; distance: number }[] = [];
  for (const name of names) {
    if (Math.abs(name.length - query.length) > 2) continue;
    const distance = editDistance(query, name);
    if (distance <= 2) scored.push({ name, distance });
  }
  scored.sort((x, y) => x.distance - y.distance || (x.name < y.name ? -1 : x.name > y.name ? 1 : 0));
  return scored.slice(0, 5).map((match) => match.name);
}
