import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { LarderError } from './errors.js';
import { ByteReceiver, ByteSender, SpareBatches } from './worker-channel.js';
import type { JobTable } from './worker-jobs.js';
import { type FromWorker, imageError, restoreError, type ToWorker } from './worker-protocol.js';

export interface WorkerPoolOptions {
  /** Threads at most; as many as the machine has cores by default. */
  readonly size?: number;
  /** Jobs a thread takes at a time, so that those waiting for the network leave it to the others; 8 by default. */
  readonly jobsPerWorker?: number;
  /** Milliseconds without a job after which a thread ends, and gives back the memory it holds; never by default. */
  readonly idleTimeout?: number;
}

export interface RunOptions {
  /** Bytes for the job. Read as fast as the job takes them, once it has a worker. */
  readonly input?: AsyncIterable<Uint8Array>;
  /** Buffers in the parameters to hand over rather than copy. */
  readonly transfer?: readonly ArrayBuffer[];
  /** For a job that another one under way waits for: it is not queued behind those that would wait for it. */
  readonly nested?: boolean;
  /** Hears how far the job got since the last call, in the job's unit; all of it by the end of a job that succeeds. */
  readonly onProgress?: (amount: number) => void;
  readonly signal?: AbortSignal;
}

/** A job that waits so long, in milliseconds, for its source or for who reads it leaves its place to another. */
const STARVED = 500;
/** How often it is looked whether one does, while others wait. */
const LOOK = 100;
/** Jobs a thread has at most, with those that wait, for each that it may take at a time. */
const MOST_STARVED = 16;

/** A job under way. */
export interface RunningJob<Result> {
  /**
   * What the job writes. Unless it is read, a job that writes much waits; a reader that leaves the loop early aborts
   * the job (`job-abandoned`). Chunks are the reader's to keep.
   */
  readonly output: AsyncIterable<Uint8Array>;
  /** Settles once the worker is done with the job, also after an abort: then nothing runs on behind it. */
  readonly result: Promise<Result>;
}

/**
 * Threads that do a module's jobs; the module calls `serveJobs` (worker-jobs).
 *
 * They start when first needed, and while none has work they do not keep the process alive. A job streams bytes in
 * and out with back-pressure. Its errors arrive with their code and fields; a crash of a thread fails its jobs with
 * `worker-crashed`, and the next job gets a new thread.
 *
 * Why not piscina: a task there is one message each way. Streams would need a MessagePort a task, which takes longer
 * to make than most NARs take to unpack, and the windows, acknowledgements and aborts below all the same.
 */
export class WorkerPool<Jobs extends JobTable> {
  readonly #module: URL;
  readonly #size: number;
  readonly #jobsPerWorker: number;
  readonly #idleTimeout: number | undefined;
  readonly #threads = new Set<PoolThread>();
  readonly #spares = new SpareBatches();
  #queue: PoolJob[] = [];
  #looking: NodeJS.Timeout | undefined;
  #nextId = 1;
  #closed = false;

  constructor(module: URL, options: WorkerPoolOptions = {}) {
    this.#module = module;
    this.#size = Math.max(1, options.size ?? availableParallelism());
    this.#jobsPerWorker = Math.max(1, options.jobsPerWorker ?? 8);
    this.#idleTimeout = options.idleTimeout;
  }

  /** Threads at most. */
  get size(): number {
    return this.#size;
  }

  /** Threads there are now. */
  get threads(): number {
    return this.#threads.size;
  }

  /** Jobs that threads have, and those that wait for one. */
  get load(): { readonly running: number; readonly waiting: number } {
    let running = 0;
    for (const thread of this.#threads) running += thread.load;
    return { running, waiting: this.#queue.length };
  }

  /** Begins a job, or queues it while every thread has all it may take. */
  run<Name extends keyof Jobs & string>(
    name: Name,
    params: Jobs[Name]['params'],
    options: RunOptions = {},
  ): RunningJob<Jobs[Name]['result']> {
    const job = new PoolJob({ type: 'start', id: this.#nextId++, name, params }, options, this.#spares);
    if (this.#closed) {
      job.settle(new LarderError('worker-pool-closed', 'the worker pool was closed; make a new one'));
    } else if (!job.isSettled) {
      if (options.nested) this.#chooseThread(Infinity)!.start(job);
      else this.#queue.push(job);
      this.#dispatch();
    }
    return job as RunningJob<unknown> as RunningJob<Jobs[Name]['result']>;
  }

  /** Stops all threads, failing the jobs they have. */
  async close(): Promise<void> {
    this.#closed = true;
    const error = new LarderError('worker-pool-closed', 'the worker pool was closed while the job ran');
    for (const job of this.#queue) job.settle(error);
    this.#queue = [];
    await Promise.all([...this.#threads].map((thread) => thread.terminate(error)));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #dispatch(): void {
    while (this.#queue.length > 0) {
      const thread = this.#chooseThread(this.#jobsPerWorker);
      if (thread === undefined) {
        this.#lookAgain();
        return;
      }
      const job = this.#queue.shift()!;
      // It may have been aborted while it waited.
      if (!job.isSettled) thread.start(job);
    }
  }

  #endWhenIdle(thread: PoolThread): void {
    if (this.#idleTimeout === undefined || thread.load > 0) return;
    const { jobsBegun } = thread;
    setTimeout(() => {
      if (thread.load > 0 || thread.jobsBegun !== jobsBegun || !this.#threads.delete(thread)) return;
      void thread.terminate(undefined);
    }, this.#idleTimeout).unref();
  }

  /** Jobs that begin to wait tell nobody. */
  #lookAgain(): void {
    this.#looking ??= setTimeout(() => {
      this.#looking = undefined;
      this.#dispatch();
    }, LOOK).unref();
  }

  /** An idle thread, else a new one, else the one with the fewest jobs if they are fewer than `most`. */
  #chooseThread(most: number): PoolThread | undefined {
    let best: PoolThread | undefined;
    let least = Infinity;
    for (const thread of this.#threads) {
      // Of two with as much to do, the one with fewer jobs.
      const busy = thread.load < most * MOST_STARVED ? thread.busy + thread.load / 1e6 : Infinity;
      if (busy >= least) continue;
      least = busy;
      best = thread;
    }
    if (best?.load === 0) return best;
    if (this.#threads.size < this.#size) {
      const thread = new PoolThread(this.#module, {
        onFree: () => {
          this.#dispatch();
          this.#endWhenIdle(thread);
        },
        onExit: () => {
          this.#threads.delete(thread);
          this.#dispatch();
        },
      });
      this.#threads.add(thread);
      return thread;
    }
    return least < most ? best : undefined;
  }
}

interface ThreadEvents {
  /** A job ended. */
  readonly onFree: () => void;
  readonly onExit: () => void;
}

/** One thread and the jobs it has. */
class PoolThread {
  readonly #worker: Worker;
  readonly #jobs = new Map<number, PoolJob>();
  readonly #events: ThreadEvents;
  #crash: unknown;
  jobsBegun = 0;

  constructor(module: URL, events: ThreadEvents) {
    this.#events = events;
    // Jobs make few objects: a small nursery saves memory. The process's own flags are about its own entry; some (--input-type) would keep a thread from starting.
    this.#worker = new Worker(module, { execArgv: [], resourceLimits: { maxYoungGenerationSizeMb: 8 } });
    this.#worker.unref();
    this.#worker.on('message', (message: FromWorker) => this.#receive(message));
    this.#worker.on('error', (error) => {
      this.#crash = error;
    });
    this.#worker.on('exit', (status) => this.#exited(status));
  }

  get load(): number {
    return this.#jobs.size;
  }

  /** Jobs that do not only wait for a source that has nothing, or for a reader that takes nothing. */
  get busy(): number {
    const before = performance.now() - STARVED;
    let busy = 0;
    for (const job of this.#jobs.values()) if (job.waitsSince > before) busy++;
    return busy;
  }

  start(job: PoolJob): void {
    if (this.#jobs.size === 0) this.#worker.ref();
    this.jobsBegun++;
    this.#jobs.set(job.id, job);
    job.start((message, transfer) => this.#worker.postMessage(message, [...transfer]));
  }

  #receive(message: FromWorker): void {
    const job = this.#jobs.get(message.id);
    if (job === undefined) return;
    if (message.type === 'done' || message.type === 'failed') {
      this.#jobs.delete(message.id);
      if (this.#jobs.size === 0) this.#worker.unref();
    }
    job.receive(message);
    if (job.isSettled) this.#events.onFree();
  }

  #exited(status: number): void {
    const detail = this.#crash instanceof Error ? this.#crash.message : `it exited with status ${status}`;
    const error = new LarderError('worker-crashed', `a worker thread stopped under its job: ${detail}`, {
      cause: this.#crash,
    });
    this.#events.onExit();
    this.#failAll(error);
  }

  #failAll(error: unknown): void {
    const jobs = [...this.#jobs.values()];
    this.#jobs.clear();
    for (const job of jobs) job.settle(error);
  }

  async terminate(error: unknown): Promise<void> {
    this.#failAll(error);
    await this.#worker.terminate();
  }
}

type Post = (message: ToWorker, transfer: readonly ArrayBuffer[]) => void;

/** The caller's side of a job. */
class PoolJob implements RunningJob<unknown> {
  readonly output: ByteReceiver;
  readonly result: Promise<unknown>;
  readonly #start: Extract<ToWorker, { type: 'start' }>;
  readonly #options: RunOptions;
  readonly #input: ByteSender;
  readonly #spares: SpareBatches;
  #post: Post = () => {};
  /** Since when it waits for its source, on the monotonic clock; infinitely late while it does not. */
  #sourceSince = Infinity;
  /** Since when its reader took nothing of what there is; likewise. */
  #readerSince = Infinity;
  #unread = 0;
  #started = false;
  #settled = false;
  #resolve!: (result: unknown) => void;
  #reject!: (error: unknown) => void;
  /** What the input threw, or the reason for an abort: the job's own error, whatever the worker makes of it. */
  #ownError: { readonly error: unknown } | undefined;

  constructor(start: Extract<ToWorker, { type: 'start' }>, options: RunOptions, spares: SpareBatches) {
    const id = start.id;
    this.#spares = spares;
    this.#start = start;
    this.#options = options;
    this.#input = new ByteSender(
      (bytes) => this.#post({ type: 'input', id, bytes }, [bytes.buffer as ArrayBuffer]),
      spares,
    );
    this.output = new ByteReceiver(
      ({ length }) => {
        this.#unread -= length;
        this.#readerSince = this.#unread > 0 ? performance.now() : Infinity;
        this.#post({ type: 'output-taken', id, size: length }, []);
      },
      { lend: false, onReturn: () => this.#giveUp(abandoned()) },
    );
    this.result = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // Whoever only reads the output hears of a failure there.
    this.result.catch(() => {});
    const { signal } = options;
    if (signal?.aborted) this.#abort();
    else signal?.addEventListener('abort', this.#abort, { once: true });
  }

  get id(): number {
    return this.#start.id;
  }

  get isSettled(): boolean {
    return this.#settled;
  }

  get waitsSince(): number {
    return Math.min(this.#sourceSince, this.#readerSince);
  }

  start(post: Post): void {
    this.#post = post;
    this.#started = true;
    const { input, transfer = [] } = this.#options;
    post(this.#start, transfer);
    if (input === undefined) post({ type: 'input-end', id: this.id, bytes: undefined }, []);
    else void this.#feed(input);
  }

  async #feed(input: AsyncIterable<Uint8Array>): Promise<void> {
    const id = this.id;
    try {
      this.#sourceSince = performance.now();
      for await (const chunk of input) {
        this.#sourceSince = Infinity;
        await this.#input.write(chunk);
        if (this.#settled || this.#ownError !== undefined) return;
        this.#sourceSince = performance.now();
      }
      this.#sourceSince = Infinity;
      await this.#input.whenOpen();
      const bytes = this.#input.takeRest();
      const transfer = bytes === undefined ? [] : [bytes.buffer as ArrayBuffer];
      this.#post({ type: 'input-end', id, bytes }, transfer);
    } catch (error) {
      this.#ownError ??= { error };
      this.#post({ type: 'input-failed', id, error: imageError(error) }, []);
    }
  }

  readonly #abort = (): void => this.#giveUp(this.#options.signal?.reason);

  #giveUp(error: unknown): void {
    this.#ownError ??= { error };
    if (!this.#started) this.settle(this.#ownError.error);
    else this.#post({ type: 'abort', id: this.id }, []);
    this.#input.stop();
  }

  receive(message: FromWorker): void {
    switch (message.type) {
      case 'input-taken':
        this.#spares.give(message.spare);
        this.#input.acknowledge(message.size);
        break;
      case 'progress':
        this.#options.onProgress?.(message.amount);
        break;
      case 'output':
        if (this.#unread === 0) this.#readerSince = performance.now();
        this.#unread += message.bytes.length;
        this.output.push(message.bytes);
        break;
      case 'done':
        if (message.bytes !== undefined) this.output.push(message.bytes);
        this.output.end();
        this.#resolve(message.result);
        this.#finish();
        break;
      case 'failed':
        this.settle(this.#ownError === undefined ? restoreError(message.error) : this.#ownError.error);
    }
  }

  /** Fails the job, if it has not ended yet. */
  settle(error: unknown): void {
    if (this.#settled) return;
    this.output.fail(error);
    this.#reject(error);
    this.#finish();
  }

  #finish(): void {
    this.#settled = true;
    this.#post = () => {};
    this.#input.stop();
    this.#options.signal?.removeEventListener('abort', this.#abort);
  }
}

function abandoned(): LarderError<'job-abandoned'> {
  return new LarderError('job-abandoned', "the reader of a job's output stopped before its end");
}
