import type { PathInfo } from '@larder/signing/path-info';
import type { StorePath } from '@larder/signing/store-path';

/** The reference graph of some paths, self-references left out, with what is asked of it. */
export class ClosureGraph {
  readonly #infos: ReadonlyMap<StorePath, PathInfo>;
  readonly #references = new Map<StorePath, readonly StorePath[]>();
  readonly #referrers = new Map<StorePath, StorePath[]>();
  /** References first. */
  readonly #sorted: readonly PathInfo[];

  /** `infos`: sorted with references first, as closures are. References to paths not among them are left out. */
  constructor(infos: readonly PathInfo[]) {
    this.#sorted = infos;
    this.#infos = new Map(infos.map((info) => [info.storePath, info]));
    for (const info of infos) {
      const { storePath } = info;
      const references = info.references.filter((each) => each !== storePath && this.#infos.has(each));
      this.#references.set(storePath, references);
      for (const reference of references) {
        const referrers = this.#referrers.get(reference);
        if (referrers === undefined) this.#referrers.set(reference, [storePath]);
        else referrers.push(storePath);
      }
    }
  }

  get paths(): readonly PathInfo[] {
    return this.#sorted;
  }

  has(path: StorePath): boolean {
    return this.#infos.has(path);
  }

  references(path: StorePath): readonly StorePath[] {
    return this.#references.get(path) ?? [];
  }

  referrers(path: StorePath): readonly StorePath[] {
    return this.#referrers.get(path) ?? [];
  }

  /** Bytes of NAR of paths and all they refer to. */
  closureSize(...roots: readonly StorePath[]): number {
    const seen = new Set(roots);
    let size = 0;
    for (const path of seen) {
      size += this.#infos.get(path)?.narSize ?? 0;
      for (const reference of this.references(path)) seen.add(reference);
    }
    return size;
  }

  /** How many references lie between each path and `target`, for the paths that depend on it. */
  distancesTo(target: StorePath): Map<StorePath, number> {
    const distances = new Map([[target, 0]]);
    for (const [path, distance] of distances) {
      for (const referrer of this.referrers(path)) {
        if (!distances.has(referrer)) distances.set(referrer, distance + 1);
      }
    }
    return distances;
  }

  /**
   * For each path, the bytes of all that only it keeps: itself, and what nothing else of the graph reaches. What
   * the store would shrink by if the path, and every reference to it, were gone.
   */
  retainedSizes(): Map<StorePath, number> {
    const dominators = this.#immediateDominators();
    const retained = new Map<StorePath, number>();
    // What a path dominates comes before it, since it comes after its references.
    for (const { storePath, narSize } of this.#sorted) {
      const own = (retained.get(storePath) ?? 0) + narSize;
      retained.set(storePath, own);
      const dominator = dominators.get(storePath)?.path;
      if (dominator !== undefined) retained.set(dominator, (retained.get(dominator) ?? 0) + own);
    }
    return retained;
  }

  /** The same for several paths together: the bytes that are reached through none but them. */
  retainedSize(members: readonly StorePath[]): number {
    const gone = new Set(members);
    const kept = new Set<StorePath>();
    for (const { storePath } of this.#sorted.toReversed()) {
      if (gone.has(storePath)) continue;
      const referrers = this.referrers(storePath);
      if (referrers.length === 0 || referrers.some((each) => kept.has(each))) kept.add(storePath);
    }
    return this.#sorted.reduce((sum, info) => (kept.has(info.storePath) ? sum : sum + info.narSize), 0);
  }

  /**
   * The nearest path that all ways to a path lead through; none for what is reached in several ways from outside.
   * The graph has no cycles, so one pass from the roots down finds them: a path's dominator is where the
   * dominator chains of its referrers meet.
   */
  #immediateDominators(): Map<StorePath, Dominated> {
    const found = new Map<StorePath, Dominated>();
    for (const { storePath } of this.#sorted.toReversed()) {
      const referrers = this.referrers(storePath);
      let common: StorePath | undefined = referrers[0];
      for (const referrer of referrers.slice(1)) common = meet(found, common, referrer);
      const depth = common === undefined ? 0 : (found.get(common)?.depth ?? 0) + 1;
      found.set(storePath, { path: common, depth });
    }
    return found;
  }
}

interface Dominated {
  readonly path: StorePath | undefined;
  /** Length of the chain of dominators above. */
  readonly depth: number;
}

/** Where two chains of dominators meet; `undefined` is outside of all. */
function meet(
  found: ReadonlyMap<StorePath, Dominated>,
  left: StorePath | undefined,
  right: StorePath | undefined,
): StorePath | undefined {
  let [a, b] = [left, right];
  while (a !== b) {
    if (a === undefined || b === undefined) return undefined;
    const [depthA, depthB]: number[] = [found.get(a)?.depth ?? 0, found.get(b)?.depth ?? 0];
    if (depthA! >= depthB!) a = found.get(a)?.path;
    if (depthB! >= depthA!) b = found.get(b)?.path;
  }
  return a;
}
