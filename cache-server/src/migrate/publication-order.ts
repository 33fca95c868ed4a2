import type { MigrationEntry } from './migration-source.js';

/**
 * Sorts the paths of a cache so that each comes after those it refers to. Holds a million of them in some 200 MB: hash parts are
 * kept once, references as numbers.
 */
export class PublicationOrder<Key> {
  readonly #numbers = new Map<string, number>();
  /** By number; absent for what is only referred to. */
  readonly #entries = new Map<number, { readonly key: Key; readonly references: Int32Array }>();

  add({ key, hashPart, references }: MigrationEntry<Key>): void {
    const own = this.#number(hashPart);
    const others = references.map((reference) => this.#number(reference)).filter((number) => number !== own);
    this.#entries.set(own, { key, references: Int32Array.from(others) });
  }

  get size(): number {
    return this.#entries.size;
  }

  /** What is referred to and not there. */
  get outside(): number {
    return this.#numbers.size - this.#entries.size;
  }

  /** References first; paths that refer to each other, which cannot be, in any order. */
  *sorted(): Generator<Key> {
    const seen = new Set<number>();
    for (const start of this.#entries.keys()) {
      const stack = [{ number: start, at: 0 }];
      if (seen.has(start)) continue;
      seen.add(start);
      for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
        const entry = this.#entries.get(top.number);
        const next = entry?.references[top.at++];
        if (next !== undefined) {
          if (seen.has(next)) continue;
          seen.add(next);
          stack.push({ number: next, at: 0 });
          continue;
        }
        stack.pop();
        if (entry !== undefined) yield entry.key;
      }
    }
  }

  #number(hashPart: string): number {
    const known = this.#numbers.get(hashPart);
    if (known !== undefined) return known;
    const number = this.#numbers.size;
    this.#numbers.set(hashPart, number);
    return number;
  }
}
