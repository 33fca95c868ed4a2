import { availableParallelism } from 'node:os';
import type { Compression } from '@larder/signing/compression';
import { Hash } from '@larder/signing/hash';
import { WorkerPool } from '@larder/signing/worker-pool';
import type { ContentHashRequest } from './content-facts.js';
import type { NarJobs, SurveyResult } from './nar-jobs.js';

/** What a NAR says of itself when it is read. */
export interface NarReading {
  /** SHA-256. */
  readonly narHash: Hash;
  /** Bytes. */
  readonly narSize: number;
  /** Every possible hash part of a store path in it, packed; absent when there are too many. */
  readonly hashParts?: Buffer;
  /** Its `.ls`; absent when that is too large to keep. */
  readonly listing?: string;
}

/** An upload that was read, and how it is kept. */
export interface IngestedNar extends NarReading {
  /** SHA-256 of the bytes as they came. */
  readonly uploadHash: Hash;
  /** SHA-256 of the bytes as they are kept. */
  readonly fileHash: Hash;
  readonly fileSize: number;
}

export interface IngestOptions {
  readonly compression: Compression;
  /** Bytes that the NAR is to have unpacked, if that is known: more are not read. */
  readonly narSize?: number;
  readonly signal?: AbortSignal;
}

/** An upload under way: its bytes as they are to be kept, and what they turn out to be. */
export interface RunningIngest {
  readonly output: AsyncIterable<Uint8Array>;
  /** Rejects with `nar-malformed`, `codec-…` or what the upload itself threw. */
  readonly result: Promise<IngestedNar>;
}

/** How a NAR is stored, and what it unpacks to at most: one that another tool stored may be anything. */
export interface StoredForm {
  readonly compression: Compression;
  readonly maxSize: number;
}

export interface NarReaderOptions {
  /** Threads; as many as there are cores by default. */
  readonly workers?: number;
  /** zstd. */
  readonly level: number;
  /** Most bytes a NAR may have unpacked: the guard against decompression bombs. */
  readonly maxSize: number;
}

/** Reads whole NARs in worker threads. */
export class NarReader implements AsyncDisposable {
  readonly #pool: WorkerPool<NarJobs>;
  /** Of their own, so that readers of files wait for no upload, and no upload for slow readers. */
  readonly #slices: WorkerPool<NarJobs>;
  readonly #level: number;
  readonly #maxSize: number;

  constructor(options: NarReaderOptions) {
    const jobs = new URL('./nar-jobs.js', import.meta.url);
    const size = options.workers ?? availableParallelism();
    this.#pool = new WorkerPool<NarJobs>(jobs, { size });
    this.#slices = new WorkerPool<NarJobs>(jobs, { size: Math.ceil(size / 2) });
    this.#level = options.level;
    this.#maxSize = options.maxSize;
  }

  /** Reads an upload and recompresses it, in one pass. More than `narSize` is `codec-too-large` at once. */
  ingest(
    source: AsyncIterable<Uint8Array>,
    { compression, narSize = this.#maxSize, signal }: IngestOptions,
  ): RunningIngest {
    const params = { compression, maxSize: Math.min(this.#maxSize, narSize), level: this.#level };
    const job = this.#pool.run('ingest', params, { input: source, ...(signal ? { signal } : {}) });
    const result = job.result.then(({ uploadHash, fileHash, fileSize, ...survey }) => ({
      ...readSurvey(survey),
      uploadHash: new Hash('sha256', uploadHash),
      fileHash: new Hash('sha256', fileHash),
      fileSize,
    }));
    // Whoever reads the output hears of a failure there first.
    result.catch(() => undefined);
    return { output: job.output, result };
  }

  /** Reads a stored NAR again. */
  async survey(stored: AsyncIterable<Uint8Array>, form: StoredForm): Promise<NarReading> {
    return readSurvey(await this.#pool.run('survey', form, { input: stored }).result);
  }

  /** Those of `wanted` that occur in a stored NAR. */
  async findHashParts(
    stored: AsyncIterable<Uint8Array>,
    params: StoredForm & { readonly wanted: readonly string[] },
  ): Promise<ReadonlySet<string>> {
    return new Set(await this.#pool.run('references', params, { input: stored }).result);
  }

  /** `undefined` when the method wants a plain file and the NAR is none. */
  async computeContentHash(
    stored: AsyncIterable<Uint8Array>,
    { request, ...form }: StoredForm & { readonly request: ContentHashRequest },
  ): Promise<Hash | undefined> {
    const params = { ...form, request };
    const bytes = await this.#pool.run('contentHash', params, { input: stored }).result;
    return bytes === undefined ? undefined : new Hash(request.algorithm, bytes);
  }

  /**
   * Bytes of a stored NAR: `length` of them behind the first `skip`. Whoever stops reading ends it.
   * @param stored the NAR, or frames of it, which unpack to `maxSize` bytes at most
   */
  slice(
    stored: AsyncIterable<Uint8Array>,
    params: StoredForm & { readonly skip: number; readonly length: number },
  ): AsyncIterable<Uint8Array> {
    // As many at once as are asked for: a slow reader of one must not keep others waiting.
    return this.#slices.run('slice', params, { input: stored, nested: true }).output;
  }

  /** Jobs that threads have, and those that wait for one. */
  get load(): { readonly running: number; readonly waiting: number } {
    return this.#pool.load;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#pool.close(), this.#slices.close()]);
  }
}

function readSurvey({ narHash, narSize, hashParts, listing }: SurveyResult): NarReading {
  return {
    narHash: new Hash('sha256', narHash),
    narSize,
    ...(hashParts === undefined ? {} : { hashParts: Buffer.from(hashParts) }),
    ...(listing === undefined ? {} : { listing }),
  };
}
