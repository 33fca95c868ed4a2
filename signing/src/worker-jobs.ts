import { parentPort } from 'node:worker_threads';
import { LarderError } from './errors.js';
import { ByteReceiver, ByteSender, SpareBatches } from './worker-channel.js';
import { type FromWorker, imageError, restoreError, type ToWorker } from './worker-protocol.js';

/** The jobs of a worker module: their parameters and results, both fit for structured cloning. */
export type JobTable = Readonly<Record<string, { readonly params: unknown; readonly result: unknown }>>;

/** What a job has of the world. */
export interface JobContext {
  /** The bytes the pool was given. A chunk is valid until the next is asked for. */
  readonly input: AsyncIterable<Uint8Array>;
  /** Aborted when the pool's caller gave up. Jobs that do not read input check it after `breathe`. */
  readonly signal: AbortSignal;
  /** Sends output, copying it. Gives a promise to await when the reader is behind; throws once the job was aborted. */
  write(chunk: Uint8Array): Promise<void> | undefined;
  /**
   * Lets messages and other jobs in if this one kept the thread for long: to be awaited, when it gives a promise,
   * now and then by a job that does not wait for input or output. Throws the reason once the job was aborted.
   */
  breathe(): Promise<void> | undefined;
  /** Counts towards what the caller hears of progress, in a unit of theirs; passed on a few times a second. */
  progress(amount: number): void;
  /** Transfers these buffers with the result. */
  transfer(...buffers: readonly ArrayBuffer[]): void;
}

/** The functions that do a table's jobs. */
export type JobHandlers<Jobs extends JobTable> = {
  readonly [Name in keyof Jobs]: (
    params: Jobs[Name]['params'],
    context: JobContext,
  ) => Promise<Jobs[Name]['result']>;
};

/** How often progress is passed on, in milliseconds. */
const PROGRESS_INTERVAL = 50;

/** How long a job may keep the thread from the others, in milliseconds. */
const TURN = 20;

/** Does the jobs that the pool sends. To be called once, by the module that is the worker's. */
export function serveJobs<Jobs extends JobTable>(handlers: JobHandlers<Jobs>): void {
  const port = parentPort;
  if (port === null) throw new LarderError('not-a-worker', 'serveJobs can only be called in a worker thread');
  const jobs = new Map<number, WorkerJob>();
  const spares = new SpareBatches();
  const post = (message: FromWorker, transfer: readonly ArrayBuffer[]): void =>
    port.postMessage(message, [...transfer]);
  port.on('message', (message: ToWorker) => {
    if (message.type !== 'start') {
      jobs.get(message.id)?.receive(message);
      return;
    }
    const job = new WorkerJob(message.id, post, spares);
    jobs.set(message.id, job);
    const handler = handlers[message.name] as (params: unknown, context: JobContext) => Promise<unknown>;
    void job.run(() => handler(message.params, job)).finally(() => jobs.delete(message.id));
  });
}

class WorkerJob implements JobContext {
  readonly input: ByteReceiver;
  readonly #id: number;
  readonly #post: (message: FromWorker, transfer: readonly ArrayBuffer[]) => void;
  readonly #output: ByteSender;
  readonly #abort = new AbortController();
  #transfer: readonly ArrayBuffer[] = [];
  #turnStart = performance.now();
  #progress = 0;
  #progressSent = performance.now();

  constructor(
    id: number,
    post: (message: FromWorker, transfer: readonly ArrayBuffer[]) => void,
    spares: SpareBatches,
  ) {
    this.#id = id;
    this.#post = post;
    this.input = new ByteReceiver(
      (batch) => {
        const spare = batch.buffer as ArrayBuffer;
        post({ type: 'input-taken', id, size: batch.length, spare }, [spare]);
      },
      { lend: true },
    );
    this.#output = new ByteSender(
      (bytes) => post({ type: 'output', id, bytes }, [bytes.buffer as ArrayBuffer]),
      spares,
    );
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  write(chunk: Uint8Array): Promise<void> | undefined {
    this.signal.throwIfAborted();
    return this.#output.write(chunk);
  }

  breathe(): Promise<void> | undefined {
    this.signal.throwIfAborted();
    if (performance.now() - this.#turnStart < TURN) return;
    return new Promise((resolve) => setImmediate(resolve)).then(() => {
      this.#turnStart = performance.now();
      this.signal.throwIfAborted();
    });
  }

  progress(amount: number): void {
    this.#progress += amount;
    const now = performance.now();
    if (now - this.#progressSent < PROGRESS_INTERVAL) return;
    this.#progressSent = now;
    this.#sendProgress();
  }

  #sendProgress(): void {
    if (this.#progress !== 0) this.#post({ type: 'progress', id: this.#id, amount: this.#progress }, []);
    this.#progress = 0;
  }

  transfer(...buffers: readonly ArrayBuffer[]): void {
    this.#transfer = buffers;
  }

  receive(message: Exclude<ToWorker, { type: 'start' }>): void {
    switch (message.type) {
      case 'input':
        this.input.push(message.bytes);
        break;
      case 'input-end':
        if (message.bytes !== undefined) this.input.push(message.bytes);
        this.input.end();
        break;
      case 'input-failed':
        this.input.fail(restoreError(message.error));
        break;
      case 'output-taken':
        this.#output.acknowledge(message.size);
        break;
      case 'abort':
        this.#output.stop();
        this.#abort.abort();
        this.input.fail(this.signal.reason);
    }
  }

  async run(work: () => Promise<unknown>): Promise<void> {
    const id = this.#id;
    try {
      const result = await work();
      this.#sendProgress();
      const bytes = this.#output.takeRest();
      const last = bytes === undefined ? [] : [bytes.buffer as ArrayBuffer];
      this.#post({ type: 'done', id, result, bytes }, [...last, ...this.#transfer]);
    } catch (error) {
      this.#post({ type: 'failed', id, error: imageError(error) }, []);
    }
  }
}
