import { deltaMemory, MAX_DELTA_NAR } from '@larder/signing/delta';
import { parseHash } from '@larder/signing/hash';
import { WorkerPool } from '@larder/signing/worker-pool';
import { objectKeys } from '../storage/object-key.js';
import type { ObjectStorage } from '../storage/storage.js';
import type { DeltaJobs } from './delta-jobs.js';

export interface DeltaMakerOptions {
  readonly storage: ObjectStorage;
  /** Threads. */
  readonly workers: number;
  /** Bytes that all deltas being made may take together. */
  readonly memory: number;
  /** Bytes of the largest NAR, on either side. */
  readonly maxNar: number;
}

/** A NAR as it is stored. */
export interface DeltaSide {
  readonly narHash: string;
  readonly narSize: number;
}

/** A delta from outside, with what it claims to be between. */
export interface ForeignDelta {
  readonly base: DeltaSide;
  readonly next: DeltaSide;
  readonly delta: Uint8Array;
}

/** Bytes a second that a thread gets through, roughly: to tell how long the queue is. */
const SPEED = 10e6;

/**
 * Makes deltas in worker threads of its own, so that uploads need not wait for them, in the order asked for and within a
 * budget of memory.
 */
export class DeltaMaker implements AsyncDisposable {
  readonly #options: DeltaMakerOptions;
  readonly #pool: WorkerPool<DeltaJobs>;
  readonly #queue: { readonly memory: number; readonly start: () => void }[] = [];
  #memory = 0;
  #running = 0;
  /** Bytes of NAR that are queued or under way. */
  #bytes = 0;

  constructor(options: DeltaMakerOptions) {
    this.#options = options;
    this.#pool = new WorkerPool(new URL('./delta-jobs.js', import.meta.url), {
      size: options.workers,
      jobsPerWorker: 1,
    });
  }

  /** Whether a delta between NARs of these sizes may be made at all. */
  accepts(base: DeltaSide, next: DeltaSide): boolean {
    const most = Math.min(this.#options.maxNar, MAX_DELTA_NAR);
    if (base.narSize > most || next.narSize > most) return false;
    return deltaMemory(base.narSize, next.narSize) <= this.#options.memory;
  }

  /** Seconds until one that is asked for now is done, roughly. */
  get backlog(): number {
    return this.#bytes / (SPEED * this.#options.workers);
  }

  /** The delta; `undefined` when a NAR is not in the storage. */
  make(cache: string, base: DeltaSide, next: DeltaSide): Promise<Uint8Array | undefined> {
    return this.#inTurn(base, next, async () => {
      const { storage } = this.#options;
      await using stored = await storage.get(objectKeys.nar(cache, base.narHash));
      await using wanted = await storage.get(objectKeys.nar(cache, next.narHash));
      if (stored === undefined || wanted === undefined) return undefined;
      const params = { baseSize: base.narSize, newSize: next.narSize };
      const input = concatenate(stored.body, wanted.body);
      return await this.#pool.run('make', params, { input }).result;
    });
  }

  /** Whether a delta that somebody else made is what it should be. */
  check(cache: string, { base, next, delta }: ForeignDelta): Promise<boolean> {
    return this.#inTurn(base, next, async () => {
      await using stored = await this.#options.storage.get(objectKeys.nar(cache, base.narHash));
      if (stored === undefined) return false;
      const narHash = parseHash(`sha256:${next.narHash}`).bytes;
      const params = { baseSize: base.narSize, newSize: next.narSize, delta, narHash };
      return await this.#pool.run('check', params, { input: stored.body }).result;
    });
  }

  /** Runs `work` when there is a thread and memory for it. */
  async #inTurn<T>(base: DeltaSide, next: DeltaSide, work: () => Promise<T>): Promise<T> {
    const memory = deltaMemory(base.narSize, next.narSize);
    const bytes = base.narSize + next.narSize;
    this.#bytes += bytes;
    await new Promise<void>((start) => {
      this.#queue.push({ memory, start });
      this.#advance();
    });
    try {
      return await work();
    } finally {
      this.#bytes -= bytes;
      this.#memory -= memory;
      this.#running--;
      this.#advance();
    }
  }

  #advance(): void {
    for (let next = this.#queue[0]; next !== undefined; next = this.#queue[0]) {
      const isFree =
        this.#running < this.#options.workers && this.#memory + next.memory <= this.#options.memory;
      if (!isFree) return;
      this.#queue.shift();
      this.#memory += next.memory;
      this.#running++;
      next.start();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool.close();
  }
}

async function* concatenate(...sources: readonly AsyncIterable<Uint8Array>[]): AsyncGenerator<Uint8Array> {
  for (const source of sources) yield* source;
}
