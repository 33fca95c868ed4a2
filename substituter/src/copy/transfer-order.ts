import type { NarInfo } from '@larder/signing/narinfo';
import { smallNarSize } from '../binary-cache/binary-cache.js';
import type { FoundPath } from '../source-set.js';

/** Paths, and bytes as the cache has them, fetched in one go: enough to make asking cheap, few enough to go on several lanes. */
const batchPaths = 32;
const batchBytes = 512 * 1024;

function sizeOf({ info }: FoundPath): number {
  return (info as Partial<NarInfo>).fileSize ?? info.narSize;
}

/** Whether a path's transfer is a matter of round trips rather than of bytes. */
function isSmall(found: FoundPath): boolean {
  return sizeOf(found) <= smallNarSize;
}

/**
 * A plan's paths, each to be taken once: small ones and large ones apart, each from the leaves up, and large ones also
 * by size.
 *
 * Whoever takes from the leaves up can wait for what a path refers to without waiting for ever: the lowest path that is
 * not done has been taken, or is the next to be.
 */
export class TransferOrder {
  readonly #small: PathQueue;
  readonly #large: PathQueue;
  readonly #largest: PathQueue;

  /** `plan` is sorted, references first. */
  constructor(plan: readonly FoundPath[]) {
    const taken = new Set<FoundPath>();
    const large = plan.filter((found) => !isSmall(found));
    this.#small = new PathQueue(plan.filter(isSmall), taken);
    this.#large = new PathQueue(large, taken);
    this.#largest = new PathQueue(
      [...large].sort((a, b) => b.info.narSize - a.info.narSize),
      taken,
    );
  }

  /** One that comes after the plan was made. */
  add(found: FoundPath): void {
    const queues = isSmall(found) ? [this.#small] : [this.#large, this.#largest];
    for (const queue of queues) queue.add(found);
  }

  get isEmpty(): boolean {
    return this.#small.isEmpty && this.#large.isEmpty;
  }

  /** Small paths that may be fetched in one go: all from one source. A single one that may not is alone. */
  takeSmallBatch(mayJoin: (found: FoundPath) => boolean): FoundPath[] {
    const first = this.#small.take();
    if (first === undefined) return [];
    const batch = [first];
    let bytes = sizeOf(first);
    while (mayJoin(first) && batch.length < batchPaths && bytes < batchBytes) {
      const next = this.#small.take((found) => found.source === first.source && mayJoin(found));
      if (next === undefined) break;
      batch.push(next);
      bytes += sizeOf(next);
    }
    return batch;
  }

  takeLarge(): FoundPath | undefined {
    return this.#large.take();
  }

  takeLargest(): FoundPath | undefined {
    return this.#largest.take();
  }
}

class PathQueue {
  readonly #paths: FoundPath[];
  readonly #taken: Set<FoundPath>;
  #next = 0;

  constructor(paths: readonly FoundPath[], taken: Set<FoundPath>) {
    this.#paths = [...paths];
    this.#taken = taken;
  }

  add(found: FoundPath): void {
    this.#paths.push(found);
  }

  get isEmpty(): boolean {
    while (this.#next < this.#paths.length && this.#taken.has(this.#paths[this.#next]!)) this.#next++;
    return this.#next >= this.#paths.length;
  }

  /** The next, if it is `wanted`. */
  take(wanted: (found: FoundPath) => boolean = () => true): FoundPath | undefined {
    while (this.#next < this.#paths.length) {
      const found = this.#paths[this.#next]!;
      if (!this.#taken.has(found) && !wanted(found)) return undefined;
      this.#next++;
      if (this.#taken.has(found)) continue;
      this.#taken.add(found);
      return found;
    }
    return undefined;
  }
}
