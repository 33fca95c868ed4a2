import { hasCode } from '@larder/signing/errors';
import type { NarWork } from '@larder/signing/nar-work';
import type { StorePath } from '@larder/signing/store-path';
import type { Trust } from '@larder/signing/trust';
import { ClosureWalkHint } from '@larder/substituter/binary-cache/narinfo-walk';
import { resolveClosure } from '@larder/substituter/closure';
import type { CopyListener } from '@larder/substituter/copy/copy-events';
import { findTrusted, type TrustedSourceOptions } from '@larder/substituter/copy/copy-paths';
import { LocalDestination } from '@larder/substituter/copy/local-destination';
import { Transfer } from '@larder/substituter/copy/transfer';
import type { LocalStore } from '@larder/substituter/local-store/local-store';
import type { FoundPath, SourceSet } from '@larder/substituter/source-set';

export interface SubstituterOptions {
  readonly store: LocalStore;
  readonly sources: SourceSet;
  /** Unpacks and checks what comes. */
  readonly work: NarWork;
  readonly trusted: Trust;
  readonly requireSignatures: boolean;
  /** Narinfo queries, and transfers, under way at a time. */
  readonly queries: number;
  readonly transfers: number;
  readonly onEvent: CopyListener;
  /** Says why caches could not be used. */
  readonly onNote: (text: string) => void;
  readonly signal?: AbortSignal;
}

/** Milliseconds that a fetch waits for others to join it. */
const gatheringTime = 5;

/**
 * Gets paths from caches, for many askers at a time: each narinfo is asked for once, and each path fetched once
 * however many closures it is in.
 */
export class Substituter {
  readonly #options: SubstituterOptions;
  readonly #trust: TrustedSourceOptions & { readonly destination: LocalDestination };
  /** All that is asked in the course of a build is one walk: a closure that a cache sent is not asked for again. */
  readonly #walk: ClosureWalkHint;
  readonly #found = new Map<StorePath, Promise<FoundPath | undefined>>();
  /** Paths known to be available with all they refer to. */
  readonly #complete = new Map<StorePath, FoundPath>();
  #gathering: { readonly plan: Map<StorePath, FoundPath>; readonly done: Promise<void> } | undefined;
  #transferring: Promise<unknown> = Promise.resolve();

  constructor(options: SubstituterOptions) {
    this.#options = options;
    this.#walk = new ClosureWalkHint(() => options.store.queryAllValidPaths());
    const destination = new LocalDestination(options.store, { work: options.work });
    const { sources, trusted, requireSignatures, signal } = options;
    this.#trust = { sources, destination, trusted, requireSignatures, signal };
  }

  /**
   * What has to be fetched for these paths to be valid, references first; `undefined` when some path of their
   * closure is in no cache, or none could be asked. `onIncomplete` gets what is missing for paths that are there.
   */
  async queryClosure(
    paths: Iterable<StorePath>,
    onIncomplete?: (missing: StorePath) => void,
  ): Promise<FoundPath[] | undefined> {
    const reached = new Map<StorePath, FoundPath>();
    const roots = new Set(paths);
    try {
      const fresh = await resolveClosure(roots, {
        find: (path) => this.#find(path),
        walk: this.#walk,
        filter: (asked) => this.#missing(asked, reached),
        recursive: true,
        concurrency: this.#options.queries,
        signal: this.#options.signal,
      });
      for (const each of fresh) this.#complete.set(each.info.storePath, each);
      return [...this.#closeOver(reached), ...fresh];
    } catch (error) {
      this.#options.signal?.throwIfAborted();
      if (!hasCode(error, 'path-not-found')) this.#options.onNote(`${(error as Error).message}`);
      else {
        const missing = error.fields.path as StorePath;
        if (!roots.has(missing)) onIncomplete?.(missing);
      }
      return undefined;
    }
  }

  /** Whether caches were asked for all these paths before, and have them; perhaps not what they refer to. */
  async isKnown(paths: readonly StorePath[]): Promise<boolean> {
    for (const path of paths) {
      const found = await this.#found.get(path)?.catch(() => undefined);
      if (found === undefined) return false;
    }
    return true;
  }

  /** Fetches what `queryClosure` gave. @throws what the transfer throws; all that came until then stays */
  async fetch(closure: readonly FoundPath[]): Promise<void> {
    if (closure.length === 0) return;
    this.#gathering ??= this.#gather();
    const batch = this.#gathering;
    for (const found of closure) batch.plan.set(found.info.storePath, found);
    await batch.done;
  }

  /** Those to ask for; what is known to be available is put into `reached` instead. */
  async #missing(
    paths: readonly StorePath[],
    reached: Map<StorePath, FoundPath>,
  ): Promise<ReadonlySet<StorePath>> {
    const missing = await this.#options.store.queryMissing(paths, this.#options.signal);
    for (const path of missing) {
      const complete = this.#complete.get(path);
      if (complete === undefined) continue;
      reached.set(path, complete);
      missing.delete(path);
    }
    return missing;
  }

  /** All that paths refer to whose closure was found before, references first. */
  #closeOver(roots: ReadonlyMap<StorePath, FoundPath>): FoundPath[] {
    const sorted = new Set<FoundPath>();
    const visit = (found: FoundPath): void => {
      if (sorted.has(found)) return;
      for (const reference of found.info.references) {
        const next = this.#complete.get(reference);
        if (next !== undefined && next !== found) visit(next);
      }
      sorted.add(found);
    };
    for (const found of roots.values()) visit(found);
    return [...sorted];
  }

  #find(path: StorePath): Promise<FoundPath | undefined> {
    let found = this.#found.get(path);
    if (found === undefined) {
      found = findTrusted(path, new Set(), { ...this.#trust, walk: this.#walk });
      this.#found.set(path, found);
      found.catch(() => this.#found.delete(path)); // A failure is no answer.
    }
    return found;
  }

  /** One transfer at a time: a path may refer to what another transfer is still fetching. */
  #gather(): { plan: Map<StorePath, FoundPath>; done: Promise<void> } {
    const plan = new Map<StorePath, FoundPath>();
    const start = async () => {
      await new Promise((resolve) => setTimeout(resolve, gatheringTime));
      this.#gathering = undefined;
      await this.#transfer(plan);
    };
    const done = this.#transferring.then(start);
    this.#transferring = done.catch(() => {});
    return { plan, done };
  }

  async #transfer(plan: ReadonlyMap<StorePath, FoundPath>): Promise<void> {
    const missing = await this.#options.store.queryMissing(plan.keys());
    const needed = [...plan.values()].filter(({ info }) => missing.has(info.storePath));
    if (needed.length === 0) return;
    const bytes = needed.reduce((sum, { info }) => sum + info.narSize, 0);
    this.#options.onEvent({ type: 'planned', paths: needed.length, bytes });
    await new Transfer(needed, {
      destination: this.#trust.destination,
      concurrency: this.#options.transfers,
      findElsewhere: (path, except) => findTrusted(path, except, this.#trust),
      onEvent: this.#options.onEvent,
      signal: this.#options.signal,
    }).run();
  }
}
