/** Texts of equal length to put in place of others, all ASCII: placeholders and hash parts of store paths. */
export type Rewrites = ReadonlyMap<string, string>;

/** Replaces every occurrence, one rewrite after the other in the order of what they look for, as Nix does. */
export function rewriteBytes(text: string, rewrites: Rewrites): string {
  let result = text;
  for (const [from, to] of [...rewrites].sort(([a], [b]) => (a < b ? -1 : 1)))
    result = result.replaceAll(from, to);
  return result;
}

/**
 * Replaces hash parts in a stream of bytes wherever chunks are cut, and notes where they began. What is looked
 * for and what is put there have the same length, so offsets stay.
 */
export class RewritingStream {
  readonly #rewrites: readonly (readonly [Buffer, Buffer])[];
  readonly #longest: number;
  #held: Buffer = Buffer.alloc(0);
  #offset = 0;
  readonly #matches: number[] = [];

  constructor(rewrites: Rewrites) {
    this.#rewrites = [...rewrites]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([from, to]) => [Buffer.from(from, 'latin1'), Buffer.from(to, 'latin1')] as const);
    this.#longest = Math.max(1, ...this.#rewrites.map(([from]) => from.length));
  }

  /** Offsets of all replacements so far, in order. */
  get matches(): readonly number[] {
    return this.#matches;
  }

  /** Takes bytes and gives those that no replacement can touch any more. */
  write(chunk: Uint8Array): Buffer {
    const data = Buffer.concat([this.#held, chunk]);
    this.#replace(data);
    const done = Math.max(0, data.length - this.#longest + 1);
    this.#held = Buffer.from(data.subarray(done));
    this.#offset += done;
    return data.subarray(0, done);
  }

  /** The rest. */
  end(): Buffer {
    const rest = this.#held;
    this.#held = Buffer.alloc(0);
    return rest;
  }

  #replace(data: Buffer): void {
    for (const [from, to] of this.#rewrites) {
      for (let at = data.indexOf(from); at >= 0; at = data.indexOf(from, at + from.length)) {
        to.copy(data, at);
        this.#matches.push(this.#offset + at);
      }
    }
  }
}
