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

/** A delta to be made. */
export interface DeltaOrder {
  readonly base: DeltaSide;
  readonly next: DeltaSide;
  /** Bytes of the largest that is of use. */
  readonly maxSize: number;
}

/** A delta from outside, with what it claims to be between. */
export interface ForeignDelta {
  readonly base: DeltaSide;
  readonly next: DeltaSide;
  readonly delta: Uint8Array;
}

/** Work that waits for its turn or has it. */
export interface DeltaJob<Result> {
  readonly result: Promise<Result>;
  /** Seconds until it is done, roughly. */
  readonly seconds: number;
}

/** Bytes a second that a thread is taken to get through before any went through, and for how many bytes that is believed. */
const SPEED = 30e6;
const BELIEVED = 20e6;

/** What a delta takes besides its bytes, in bytes. */
const OVERHEAD = 50_000;

/** Work that is remembered, in bytes, to tell how fast the machine is. */
const MEMORY_OF_SPEED = 500e6;

/** For how much longer, of the time that it took, one goes on that should be done. */
const OVERTIME = 0.25;

/** Milliseconds after which threads that have nothing to do end: what they hold goes with them. */
const IDLE = 10_000;

/**
 * Makes deltas in worker threads of its own, so that uploads need not wait for them, in the order asked for and within a
 * budget of memory: one at a time when they are large.
 */
export class DeltaMaker implements AsyncDisposable {
  readonly #options: DeltaMakerOptions;
  readonly #pool: WorkerPool<DeltaJobs>;
  readonly #queue: { readonly memory: number; readonly start: () => void }[] = [];
  readonly #turns = new Set<Turn>();
  #memory = 0;
  #running = 0;
  /** Bytes of work that were ever asked for, and that are done. */
  #asked = 0;
  #done = 0;
  /** How long so many bytes took, in seconds of a thread. */
  #measured = { bytes: BELIEVED, seconds: BELIEVED / SPEED };

  constructor(options: DeltaMakerOptions) {
    this.#options = options;
    this.#pool = new WorkerPool(new URL('./delta-jobs.js', import.meta.url), {
      size: options.workers,
      jobsPerWorker: 1,
      idleTimeout: IDLE,
    });
  }

  /** Whether such a delta may be made at all. */
  accepts(order: DeltaOrder): boolean {
    const most = Math.min(this.#options.maxNar, MAX_DELTA_NAR);
    if (order.base.narSize > most || order.next.narSize > most) return false;
    return memoryOf(order) <= this.#options.memory;
  }

  /** Seconds until one that is asked for now is begun, roughly. */
  get backlog(): number {
    return this.#secondsTo(this.#asked);
  }

  /** The delta; `undefined` when it is too large, or a NAR is not in the storage. */
  make(cache: string, order: DeltaOrder): DeltaJob<Uint8Array | undefined> {
    return this.#inTurn(order, async () => {
      const { base, next, maxSize } = order;
      const { storage } = this.#options;
      await using stored = await storage.get(objectKeys.nar(cache, base.narHash));
      await using wanted = await storage.get(objectKeys.nar(cache, next.narHash));
      if (stored === undefined || wanted === undefined) return undefined;
      const params = { baseSize: base.narSize, newSize: next.narSize, maxSize };
      const input = concatenate(stored.body, wanted.body);
      return await this.#pool.run('make', params, { input }).result;
    });
  }

  /** Whether a delta that somebody else made is what it should be. */
  check(cache: string, { base, next, delta }: ForeignDelta): Promise<boolean> {
    return this.#inTurn({ base, next, maxSize: delta.length }, async () => {
      await using stored = await this.#options.storage.get(objectKeys.nar(cache, base.narHash));
      if (stored === undefined) return false;
      const narHash = parseHash(`sha256:${next.narHash}`).bytes;
      const params = { baseSize: base.narSize, newSize: next.narSize, delta, narHash };
      return await this.#pool.run('check', params, { input: stored.body }).result;
    }).result;
  }

  /** Runs `work` when there is a thread and memory for it. */
  #inTurn<T>(order: DeltaOrder, work: () => Promise<T>): DeltaJob<T> {
    const memory = memoryOf(order);
    const bytes = order.base.narSize + order.next.narSize + OVERHEAD;
    this.#asked += bytes;
    const end = this.#asked;
    const run = async (): Promise<T> => {
      await new Promise<void>((start) => {
        this.#queue.push({ memory, start });
        this.#advance();
      });
      const turn = { bytes, started: performance.now() };
      this.#turns.add(turn);
      try {
        return await work();
      } finally {
        this.#turns.delete(turn);
        this.#note(turn);
        this.#memory -= memory;
        this.#advance();
      }
    };
    const secondsTo = () => this.#secondsTo(end);
    return {
      result: run(),
      get seconds() {
        return secondsTo();
      },
    };
  }

  #advance(): void {
    for (let next = this.#queue[0]; next !== undefined; next = this.#queue[0]) {
      if (this.#running >= this.#options.workers) return;
      // One that exceeds the budget by itself, which `accepts` lets none do, must not hold up the others for ever.
      if (this.#running > 0 && this.#memory + next.memory > this.#options.memory) return;
      this.#queue.shift();
      this.#memory += next.memory;
      this.#running++;
      next.start();
    }
  }

  /** Seconds until the work up to this point is done. */
  #secondsTo(end: number): number {
    const { bytes, seconds } = this.#measured;
    const speed = bytes / seconds;
    let done = this.#done;
    for (const turn of this.#turns) {
      const gone = (performance.now() - turn.started) / 1000;
      // One that takes longer than it should goes on to.
      const left = Math.max(turn.bytes / speed - gone, gone * OVERTIME);
      done += Math.max(0, turn.bytes - left * speed);
    }
    return Math.max(0, end - done) / (speed * this.#options.workers);
  }

  #note({ bytes, started }: Turn): void {
    this.#running--;
    this.#done += bytes;
    const sum = this.#measured.bytes + bytes;
    const seconds = this.#measured.seconds + (performance.now() - started) / 1000;
    const share = Math.min(1, MEMORY_OF_SPEED / sum);
    this.#measured = { bytes: sum * share, seconds: seconds * share };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool.close();
  }
}

async function* concatenate(...sources: readonly AsyncIterable<Uint8Array>[]): AsyncGenerator<Uint8Array> {
  for (const source of sources) yield* source;
}

/** Work that has its turn. */
interface Turn {
  readonly bytes: number;
  readonly started: number;
}

function memoryOf({ base, next, maxSize }: DeltaOrder): number {
  return deltaMemory({ baseSize: base.narSize, newSize: next.narSize, maxSize });
}
