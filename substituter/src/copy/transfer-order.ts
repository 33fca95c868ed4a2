import type { FoundPath } from '../source-set.js';

/** A plan's paths, each to be taken once, from either of two ends. */
export class TransferOrder {
  readonly #lowest: readonly FoundPath[];
  readonly #largest: readonly FoundPath[];
  readonly #taken = new Set<FoundPath>();
  #nextLowest = 0;
  #nextLargest = 0;

  /** `plan` is sorted, references first. */
  constructor(plan: readonly FoundPath[]) {
    this.#lowest = plan;
    this.#largest = [...plan].sort((a, b) => b.info.narSize - a.info.narSize);
  }

  /** The next path in the plan's order: what it refers to was taken before it. */
  takeLowest(): FoundPath | undefined {
    while (this.#nextLowest < this.#lowest.length) {
      const found = this.#take(this.#lowest[this.#nextLowest++]!);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** The largest path left. */
  takeLargest(): FoundPath | undefined {
    while (this.#nextLargest < this.#largest.length) {
      const found = this.#take(this.#largest[this.#nextLargest++]!);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  #take(found: FoundPath): FoundPath | undefined {
    if (this.#taken.has(found)) return undefined;
    this.#taken.add(found);
    return found;
  }
}
