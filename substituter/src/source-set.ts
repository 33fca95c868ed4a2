import { LarderError } from '@larder/signing/errors';
import type { PathInfo } from '@larder/signing/path-info';
import type { StoreDir, StorePath } from '@larder/signing/store-path';
import { BinaryCache } from './binary-cache/binary-cache.js';
import type { PlannedDelta } from './copy/delta-plan.js';
import type { PathSource, ReadOptions } from './store.js';

/** A path's details with the source that has it. */
export interface FoundPath {
  readonly info: PathInfo;
  readonly source: PathSource;
  /** A shorter way to it that may be tried first. */
  readonly delta?: PlannedDelta;
  /** Another source that has it: asked for when this one is slow. */
  readonly elsewhere?: () => Promise<FoundPath | undefined>;
}

export interface SourceSetOptions {
  /** Called when a source is left out for a while. */
  readonly onDisabled?: (source: PathSource, error: unknown) => void;
}

/** For how long a source that failed is not asked again, in milliseconds. */
const disabledFor = 60_000;

/**
 * Several sources asked as one, by priority and then in the order given. One that is down costs its time-out
 * once, not once a path: it is left out for a while, and the next ones stand in for it.
 */
export class SourceSet {
  readonly storeDir: StoreDir;
  readonly #sources: readonly PathSource[];
  readonly #options: SourceSetOptions;
  readonly #disabledUntil = new Map<PathSource, number>();
  readonly #failures = new Map<PathSource, Error>();
  #ordered: Promise<readonly PathSource[]> | undefined;

  /** @throws `usage` without any source */
  constructor(sources: readonly PathSource[], options: SourceSetOptions = {}) {
    const first = sources[0];
    if (first === undefined) {
      throw new LarderError('no-source', 'there is no store or cache to copy from: name one with --from');
    }
    this.storeDir = first.storeDir;
    this.#sources = sources;
    this.#options = options;
  }

  get uris(): string[] {
    return this.#sources.map((source) => source.uri);
  }

  /**
   * The path at the first source that has it, `undefined` when all that answered do not. Sources in `except`
   * are passed over: their copy proved to be bad.
   * @throws the failure of a source when none has the path and one could not be asked
   */
  async find(
    path: StorePath,
    options: ReadOptions & { readonly except?: ReadonlySet<PathSource> } = {},
  ): Promise<FoundPath | undefined> {
    let failure: Error | undefined;
    for (const source of await this.#inOrder(options)) {
      if (options.except?.has(source)) continue;
      if (this.#isDisabled(source)) {
        failure ??= this.#failures.get(source);
        continue;
      }
      try {
        const info = await source.queryPathInfo(path, options);
        if (info !== undefined) return { info, source };
      } catch (error) {
        options.signal?.throwIfAborted();
        failure ??= error as Error;
        this.noteFailure(source, error);
      }
    }
    if (failure !== undefined) throw failure;
    return undefined;
  }

  /** The full path for a hash part, from the first source that knows it. */
  async findHashPart(hashPart: string, options: ReadOptions = {}): Promise<StorePath | undefined> {
    for (const source of await this.#inOrder(options)) {
      const path = await source.queryPathFromHashPart(hashPart, options);
      if (path !== undefined) return path;
    }
    return undefined;
  }

  /** Leaves a source out for a while if it cannot be reached or refuses us; one bad narinfo is no reason. */
  noteFailure(source: PathSource, error: unknown): void {
    if (!(error instanceof LarderError)) return;
    if (!sourceFailures.includes(error.code)) return;
    // Many requests fail together when a server goes down: it is announced once.
    const announced = this.#isDisabled(source);
    this.#disabledUntil.set(source, Date.now() + disabledFor);
    this.#failures.set(source, error);
    if (!announced) this.#options.onDisabled?.(source, error);
  }

  async close(): Promise<void> {
    await Promise.all(this.#sources.map((source) => source.close()));
  }

  #isDisabled(source: PathSource): boolean {
    return (this.#disabledUntil.get(source) ?? 0) > Date.now();
  }

  #inOrder(options: ReadOptions): Promise<readonly PathSource[]> {
    this.#ordered ??= this.#order(options).catch((error: unknown) => {
      this.#ordered = undefined;
      throw error;
    });
    return this.#ordered;
  }

  /** Asks each cache for its priority; one that does not answer goes last. */
  async #order(options: ReadOptions): Promise<readonly PathSource[]> {
    const ranked = await Promise.all(
      this.#sources.map(async (source) => ({ source, priority: await this.#priority(source, options) })),
    );
    return ranked.sort((a, b) => a.priority - b.priority).map(({ source }) => source);
  }

  async #priority(source: PathSource, options: ReadOptions): Promise<number> {
    if (!(source instanceof BinaryCache)) return 0; // A store on this machine is the nearest.
    try {
      return (await source.info(options)).priority;
    } catch (error) {
      options.signal?.throwIfAborted();
      if (
        this.#sources.length === 1 ||
        (error instanceof LarderError && error.code === 'cache-store-dir-mismatch')
      ) {
        throw error;
      }
      this.noteFailure(source, error);
      return Number.MAX_SAFE_INTEGER;
    }
  }
}

/** Failures that are the source's own, not a path's. */
const sourceFailures = ['cache-unreachable', 'cache-unauthorized', 'cache-refused'];
