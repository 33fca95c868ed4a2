/**
 * Bytes between threads: a sender gathers them into batches, which are transferred, not copied, and waits while too
 * many are under way; the receiver acknowledges a batch once it was used up. The same on both sides of a worker.
 */

/** Bytes a batch holds: large enough that its message costs nothing, small enough to stay in a core's cache. */
export const BATCH_SIZE = 256 * 1024;
/** Bytes that may be under way unacknowledged, a direction and job. */
export const WINDOW_SIZE = 4 * BATCH_SIZE;

/** Spare batches kept at most, 8 MiB: what passes is then allocated once and not left to the garbage collector. */
const SPARES_KEPT = 32;

/** Buffers for batches, shared by all senders of a thread. */
export class SpareBatches {
  readonly #buffers: ArrayBuffer[] = [];

  take(): Buffer {
    const buffer = this.#buffers.pop();
    return buffer === undefined ? Buffer.allocUnsafeSlow(BATCH_SIZE) : Buffer.from(buffer);
  }

  give(buffer: ArrayBuffer): void {
    if (this.#buffers.length < SPARES_KEPT) this.#buffers.push(buffer);
  }
}

/** Posts a batch whose buffer is given away. */
export type PostBatch = (batch: Uint8Array) => void;

/** The sending end. Bytes written are copied, so the caller may reuse them at once. */
export class ByteSender {
  readonly #post: PostBatch;
  readonly #spares: SpareBatches;
  #batch: Buffer | undefined;
  #filled = 0;
  #underWay = 0;
  #stopped = false;
  #resume: (() => void) | undefined;

  constructor(post: PostBatch, spares: SpareBatches) {
    this.#post = post;
    this.#spares = spares;
  }

  /** Takes all of `chunk`; gives a promise when the window is full, to await before the next one. */
  write(chunk: Uint8Array): Promise<void> | undefined {
    if (this.#stopped) return;
    for (let at = 0; at < chunk.length; ) {
      this.#batch ??= this.#spares.take();
      const size = Math.min(chunk.length - at, this.#batch.length - this.#filled);
      this.#batch.set(size === chunk.length ? chunk : chunk.subarray(at, at + size), this.#filled);
      this.#filled += size;
      at += size;
      if (this.#filled === this.#batch.length) this.flush();
    }
    // An idle receiver gets what there is; a busy one gets whole batches.
    if (this.#underWay === 0) this.flush();
    return this.whenOpen();
  }

  /** A promise while the window is full. */
  whenOpen(): Promise<void> | undefined {
    if (this.#underWay < WINDOW_SIZE || this.#stopped) return;
    return new Promise((resolve) => {
      this.#resume = resolve;
    });
  }

  /** Posts what was gathered. */
  flush(): void {
    const batch = this.takeRest();
    if (batch === undefined) return;
    this.#underWay += batch.length;
    this.#post(batch);
  }

  /** Gives what was gathered and not posted yet, for a last message that carries it along. */
  takeRest(): Uint8Array | undefined {
    if (this.#batch === undefined || this.#filled === 0) return;
    const batch = this.#batch.subarray(0, this.#filled);
    this.#batch = undefined;
    this.#filled = 0;
    return batch;
  }

  /** The other end used up `size` bytes. */
  acknowledge(size: number): void {
    this.#underWay -= size;
    if (this.#underWay === 0) this.flush();
    if (this.#underWay < WINDOW_SIZE) this.#wake();
  }

  /** Nobody listens any more: what is written from now on is dropped, and nothing waits. */
  stop(): void {
    this.#stopped = true;
    this.#batch = undefined;
    this.#filled = 0;
    this.#wake();
  }

  #wake(): void {
    const resume = this.#resume;
    this.#resume = undefined;
    resume?.();
  }
}

/** Tells the sender that `batch` was used up. */
export type Acknowledge = (batch: Uint8Array) => void;

/** The receiving end: a stream, for one consumer. */
export class ByteReceiver implements AsyncIterable<Uint8Array> {
  readonly #acknowledge: Acknowledge;
  readonly #lend: boolean;
  readonly #onReturn: () => void;
  #batches: Uint8Array[] = [];
  #ended = false;
  #error: unknown;
  #failed = false;
  #wake: (() => void) | undefined;

  /**
   * `lend`: a batch is acknowledged, and its buffer sent back, when the next is asked for, so the consumer must be
   * done with it by then. Otherwise it is the consumer's for good. `onReturn` hears of a consumer that stops early.
   */
  constructor(acknowledge: Acknowledge, options: { readonly lend: boolean; readonly onReturn?: () => void }) {
    this.#acknowledge = acknowledge;
    this.#lend = options.lend;
    this.#onReturn = options.onReturn ?? (() => {});
  }

  push(batch: Uint8Array): void {
    this.#batches.push(batch);
    this.#notify();
  }

  end(): void {
    this.#ended = true;
    this.#notify();
  }

  /** Makes the consumer throw `error`, at once. */
  fail(error: unknown): void {
    if (this.#ended) return;
    this.#failed = true;
    this.#error = error;
    this.#batches = [];
    this.#notify();
  }

  #notify(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    let finished = false;
    try {
      for (;;) {
        if (this.#failed) throw this.#error;
        const batch = this.#batches.shift();
        if (batch !== undefined) {
          if (!this.#lend) this.#acknowledge(batch);
          yield batch;
          if (this.#lend) this.#acknowledge(batch);
        } else if (this.#ended) {
          finished = true;
          return;
        } else {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
        }
      }
    } finally {
      if (!finished && !this.#failed) this.#onReturn();
    }
  }
}
