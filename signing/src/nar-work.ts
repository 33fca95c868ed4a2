import type { Compression } from './compression.js';
import { Hash } from './hash.js';
import type { NarListing } from './nar-listing.js';
import type { HashResult, NarJobs } from './nar-work-jobs.js';
import { writeFrames } from './seekable-zstd-frames.js';
import { FRAME_SIZE } from './seekable-zstd-writer.js';
import { WorkerPool, type WorkerPoolOptions } from './worker-pool.js';
import { restoreError } from './worker-protocol.js';

export interface NarJobOptions {
  /** Hears of bytes of the uncompressed archive that were dealt with since the last call. */
  readonly onBytes?: (count: number) => void;
  readonly signal?: AbortSignal;
}

export interface ExpectedNarOptions extends NarJobOptions {
  /** SHA-256; anything else is `nar-hash-mismatch`. */
  readonly narHash?: Hash;
  /** Bytes uncompressed; anything else is `nar-size-mismatch`, and `codec-too-large` as soon as there are more. */
  readonly narSize?: number;
  /** zstd: log2 of the largest window allowed, 27 by default, up to 31. */
  readonly windowLogMax?: number;
}

export interface VerifyNarOptions extends ExpectedNarOptions {
  readonly compression: Compression;
  /** Hash parts of store paths to look for in the archive. */
  readonly candidates?: Iterable<string>;
  /** What `output` gives: nothing, the bytes that came (`same`), or the archive as `seekable` zstd. */
  readonly output?: 'none' | 'same' | 'seekable';
  /** zstd level for `seekable`; 3 by default. */
  readonly level?: number;
  /** Whether to make the listing. */
  readonly listing?: boolean;
  /** Bytes uncompressed at most, when `narSize` is not known. */
  readonly maxSize?: number;
  /** The source is a delta (see delta) to the archive of what is at this path; `compression` is `none` then. */
  readonly base?: string;
}

/** Hash and size of an archive, and which of the candidates occur in it, sorted. */
export interface NarSummary {
  readonly narHash: Hash;
  readonly narSize: number;
  readonly references: readonly string[];
}

export interface VerifiedNar extends NarSummary {
  /** Of the bytes that came. */
  readonly fileHash: Hash;
  readonly fileSize: number;
  /** Of the bytes that `output` gave; meaningless for `none`. */
  readonly outputHash: Hash;
  readonly outputSize: number;
  /** Whether `output` is seekable zstd: always for `seekable`; for `same` when the upload had a table that is right. */
  readonly seekable: boolean;
  readonly listing: NarListing | undefined;
}

export interface RestoreNarOptions extends ExpectedNarOptions {
  readonly compression: Compression;
  /** Where to; must not exist. */
  readonly target: string;
  /** Store metadata (modes 0444 and 0555, time 1); true by default. */
  readonly canonical?: boolean;
  /** Flush each file; false by default, for whoever syncs the file system once for many. */
  readonly fsync?: boolean;
  /** The source is a delta (see delta) to the archive of what is at this path; `compression` does not matter then. */
  readonly base?: string;
}

/** One of the archives of an answer of many (archive-frames), in their order. */
export interface RestoreItem {
  /** Where to; must not exist. */
  readonly target: string;
  readonly narHash: Hash;
  readonly narSize: number;
  /** What a delta is to, if one was asked for. */
  readonly base?: string;
}

export interface RestoredItem {
  /** Bytes that came for it. */
  readonly fileSize: number;
  /** Why it is not there: what is at its target is then to be removed. */
  readonly error: Error | undefined;
}

export interface RestoredNar {
  readonly narHash: Hash;
  readonly narSize: number;
  /** Compressed bytes read. */
  readonly fileSize: number;
}

export interface HashPathOptions extends NarJobOptions {
  /** Hash parts of store paths to look for in the archive. */
  readonly candidates?: Iterable<string>;
}

export interface DumpNarOptions extends HashPathOptions {
  /** zstd is written seekable. */
  readonly compression: Compression;
  readonly level?: number;
  /** Size of the archive if known. zstd then uses all cores for one of several frames. */
  readonly narSize?: number;
}

/** A stream and, once it was read, what is known of it. */
export interface NarStream<Result> {
  /** Must be read to its end, or given up with the job's signal or by leaving the loop. */
  readonly output: AsyncIterable<Uint8Array>;
  readonly result: Promise<Result>;
}

export interface CompressSeekableOptions {
  readonly level?: number;
  readonly signal?: AbortSignal;
}

/**
 * The CPU work on NARs, in worker threads: the event loop only moves bytes. One instance serves a process; threads
 * start with the first job, and idle ones do not keep the process alive.
 *
 * All streams have back-pressure and bounded memory: about 2 MiB a job in flight, and the codec's window; for large
 * NARs compressed on all cores, some 32 MiB a core besides.
 */
export class NarWork {
  readonly #pool: WorkerPool<NarJobs>;

  constructor(options: WorkerPoolOptions = {}) {
    this.#pool = new WorkerPool(new URL('./nar-work-thread.js', import.meta.url), options);
  }

  /**
   * Reads an untrusted NAR in one pass: decompresses, parses strictly, hashes compressed and uncompressed bytes, finds
   * references, lists. The result is fulfilled only if all of it is right; `output` may have given bytes by then, which
   * are to be thrown away otherwise. Fails with `nar-malformed`, `nar-hash-mismatch`, `nar-size-mismatch`, `codec-…`,
   * or what the source threw.
   */
  verifyNar(source: AsyncIterable<Uint8Array>, options: VerifyNarOptions): NarStream<VerifiedNar> {
    const { narHash, candidates = [], output = 'none', listing = false, signal, onBytes, ...rest } = options;
    const { compression, narSize, level, maxSize, windowLogMax, base } = rest;
    const job = this.#pool.run(
      'verify',
      {
        ...{ compression, narSize, level, maxSize, windowLogMax, output, listing, base },
        candidates: [...candidates],
        narHash: narHash?.bytes,
      },
      { input: source, signal, onProgress: onBytes },
    );
    const result = settled(job.result, (raw) => ({
      ...raw,
      ...summary(raw),
      fileHash: new Hash('sha256', raw.fileHash),
      outputHash: new Hash('sha256', raw.outputHash),
    }));
    return { output: job.output, result };
  }

  /**
   * Restores a NAR to disk, verified on the way, and settles when the last file is written. After a failure (see
   * `verifyNar`; `restore-target-exists`, system errors) the caller removes what is there.
   */
  async restoreNar(source: AsyncIterable<Uint8Array>, options: RestoreNarOptions): Promise<RestoredNar> {
    const { compression, target, canonical = true, fsync = false, narHash, narSize, windowLogMax } = options;
    const job = this.#pool.run(
      'restore',
      {
        compression,
        target,
        canonical,
        fsync,
        narSize,
        windowLogMax,
        narHash: narHash?.bytes,
        base: options.base,
      },
      { input: source, signal: options.signal, onProgress: options.onBytes },
    );
    const { fileSize, ...raw } = await job.result;
    return { narHash: new Hash('sha256', raw.narHash), narSize: raw.narSize, fileSize };
  }

  /**
   * Restores many small archives from one answer (archive-frames), each verified; gives what became of those that came,
   * in order. Fails when the answer itself is broken.
   */
  async restoreMany(
    source: AsyncIterable<Uint8Array>,
    items: readonly RestoreItem[],
    { fsync = false, signal }: { readonly fsync?: boolean; readonly signal?: AbortSignal } = {},
  ): Promise<RestoredItem[]> {
    const params = {
      items: items.map(({ narHash, ...item }) => ({ ...item, base: item.base, narHash: narHash.bytes })),
      fsync,
    };
    const { outcomes } = await this.#pool.run('restoreMany', params, { input: source, signal }).result;
    return outcomes.map(({ fileSize, error }) => ({
      fileSize,
      error: error === undefined ? undefined : restoreError(error),
    }));
  }

  /**
   * Makes the NAR of a path: `output` is its compressed bytes, `result` says what it was. Fails with
   * `nar-unsupported-file`, `file-changed`, `compression-unsupported` or system errors.
   */
  dumpNar(path: string, options: DumpNarOptions): NarStream<NarSummary> {
    const { compression, level, narSize, candidates = [], signal, onBytes } = options;
    const parallel = compression === 'zstd' && (narSize ?? 0) > FRAME_SIZE && this.#pool.size > 1;
    const job = this.#pool.run(
      'dump',
      {
        ...{ path, level, size: narSize, candidates: [...candidates] },
        compression: parallel ? 'none' : compression,
      },
      { signal, onProgress: onBytes },
    );
    const output = parallel ? this.compressSeekable(job.output, { level, signal }) : job.output;
    return { output, result: settled(job.result, summary) };
  }

  /** Hash, size and references of the NAR a path would make, without making it. Fails as `dumpNar` does. */
  async hashPath(path: string, options: HashPathOptions = {}): Promise<NarSummary> {
    const { candidates = [], signal, onBytes } = options;
    const job = this.#pool.run(
      'hash',
      { path, candidates: [...candidates] },
      { signal, onProgress: onBytes },
    );
    return summary(await job.result);
  }

  /**
   * The delta (see delta) from the archive of what is at `base` to that of what is at `path`, both below MAX_DELTA_NAR.
   * Takes `deltaMemory` meanwhile: not for many at a time. Fails as `dumpNar` does.
   */
  makeDelta(base: string, path: string, signal?: AbortSignal): Promise<Uint8Array> {
    return this.#pool.run('makeDelta', { base, path }, { signal }).result;
  }

  /** Compresses any stream to seekable zstd, its frames on all cores. */
  compressSeekable(
    source: AsyncIterable<Uint8Array>,
    { level, signal }: CompressSeekableOptions = {},
  ): AsyncGenerator<Uint8Array> {
    const pool = this.#pool;
    const compress = (content: Uint8Array) => {
      const transfer = [content.buffer as ArrayBuffer];
      return pool.run('compressFrame', { content, level }, { transfer, signal, nested: true }).result;
    };
    return writeFrames(source, compress, { concurrency: pool.size });
  }

  /** Stops the threads, failing the jobs they have. */
  close(): Promise<void> {
    return this.#pool.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function summary({ narHash, narSize, references }: HashResult): NarSummary {
  return { narHash: new Hash('sha256', narHash), narSize, references };
}

/** A derived promise that nobody has to look at when the stream beside it already told of the failure. */
function settled<Raw, Result>(raw: Promise<Raw>, make: (raw: Raw) => Result): Promise<Result> {
  const result = raw.then(make);
  result.catch(() => {});
  return result;
}
