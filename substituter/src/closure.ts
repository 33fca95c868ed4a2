import { LarderError } from '@larder/signing/errors';
import { type PathInfo, sortByReferences } from '@larder/signing/path-info';
import type { StorePath } from '@larder/signing/store-path';
import { ClosureWalkHint } from './binary-cache/narinfo-walk.js';
import type { FoundPath } from './source-set.js';
import type { ReadOptions } from './store.js';

export interface ClosureOptions extends ReadOptions {
  /** Finds one path; many are asked for at a time, all as parts of one walk. */
  readonly find: (path: StorePath, walk: ClosureWalkHint) => Promise<FoundPath | undefined>;
  /** Of these paths, those to follow: the others are where they should be, with all they refer to. */
  readonly filter: (paths: readonly StorePath[]) => Promise<ReadonlySet<StorePath>>;
  /** Whether to go on to references. */
  readonly recursive: boolean;
  /** Queries under way at a time. */
  readonly concurrency: number;
  readonly onFound?: (found: FoundPath) => void;
  /** Of a walk that this one goes on with; else it is one by itself, and what is asked is asked anew. */
  readonly walk?: ClosureWalkHint;
}

/**
 * Walks references breadth first from `roots`, asking for each path once, and gives what it found, references
 * first. Paths that `filter` drops are not in the answer and not looked behind.
 * @throws `path-not-found` for a path that is nowhere
 */
export async function resolveClosure(
  roots: Iterable<StorePath>,
  options: ClosureOptions,
): Promise<FoundPath[]> {
  const walk = new ClosureWalk(options);
  await walk.run([...new Set(roots)]);
  const sorted = sortByReferences([...walk.found.values()].map(({ info }) => info));
  return sorted.map((info) => walk.found.get(info.storePath)!);
}

/** Not level by level: a slow answer holds up what lies behind it, and nothing else. */
class ClosureWalk {
  readonly found = new Map<StorePath, FoundPath>();
  readonly #options: ClosureOptions;
  readonly #seen = new Set<StorePath>();
  readonly #queue: StorePath[] = [];
  readonly #hint: ClosureWalkHint;
  #running = 0;
  #filtering = 0;
  #failure: { readonly error: unknown } | undefined;
  #finish: (() => void) | undefined;

  constructor(options: ClosureOptions) {
    this.#options = options;
    this.#hint = options.walk ?? new ClosureWalkHint();
  }

  async run(roots: readonly StorePath[]): Promise<void> {
    const finished = new Promise<void>((resolve) => {
      this.#finish = resolve;
    });
    this.#admit(roots);
    await finished;
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /** Takes up paths that were not seen before and that the filter wants. */
  #admit(paths: readonly StorePath[]): void {
    const fresh = paths.filter((path) => !this.#seen.has(path));
    for (const path of fresh) this.#seen.add(path);
    if (fresh.length === 0) {
      this.#advance();
      return;
    }
    this.#filtering++;
    this.#options.filter(fresh).then(
      (wanted) => {
        this.#filtering--;
        for (const path of fresh) if (wanted.has(path)) this.#queue.push(path);
        this.#advance();
      },
      (error: unknown) => {
        this.#filtering--;
        this.#fail(error);
      },
    );
  }

  #advance(): void {
    while (this.#failure === undefined && this.#running < this.#options.concurrency) {
      const path = this.#queue.shift();
      if (path === undefined) break;
      this.#running++;
      this.#look(path).then(
        (references) => {
          this.#running--;
          this.#admit(references);
        },
        (error: unknown) => {
          this.#running--;
          this.#fail(error);
        },
      );
    }
    const idle = this.#running === 0 && this.#filtering === 0;
    if (idle && (this.#queue.length === 0 || this.#failure !== undefined)) this.#finish?.();
  }

  #fail(error: unknown): void {
    this.#failure ??= { error };
    this.#advance();
  }

  async #look(path: StorePath): Promise<readonly StorePath[]> {
    this.#options.signal?.throwIfAborted();
    const found = await this.#options.find(path, this.#hint);
    if (found === undefined) {
      throw new LarderError('path-not-found', `no source has ${path}`, { fields: { path } });
    }
    this.found.set(path, found);
    this.#options.onFound?.(found);
    return this.#options.recursive ? found.info.references : [];
  }
}

/** Whether `info` refers to paths other than itself that are not in `present`. */
export function missingReferences(info: PathInfo, present: ReadonlySet<StorePath>): StorePath[] {
  return info.references.filter((path) => path !== info.storePath && !present.has(path));
}
