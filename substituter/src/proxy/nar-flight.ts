import type { IncomingNar } from './nar-shelf.js';

/** Bytes of a file that are read at once. */
const READ_SIZE = 256 * 1024;

/**
 * One archive on its way from a cache to the disk, and to however many clients wait for it. They read the file while
 * it grows. Its last byte is held back until the whole was verified, so nobody takes a bad archive for complete.
 */
export class NarFlight {
  readonly #incoming: IncomingNar;
  #readers = 0;
  #written = 0;
  #state: 'running' | 'done' | 'failed' = 'running';
  #error: unknown;
  #wake: (() => void)[] = [];
  /** Settled when the archive is kept or given up; never rejected. */
  readonly finished: Promise<void>;

  /** `bytes` fails at its end if the archive was not what it should be. */
  constructor(incoming: IncomingNar, bytes: AsyncIterable<Uint8Array>) {
    this.#incoming = incoming;
    this.finished = this.#run(bytes).finally(() => this.#release());
  }

  async #run(bytes: AsyncIterable<Uint8Array>): Promise<void> {
    try {
      for await (const chunk of bytes) {
        await this.#incoming.write(chunk);
        this.#written += chunk.length;
        this.#notify();
      }
      this.#state = 'done';
      this.#notify();
      await this.#incoming.keep();
    } catch (error) {
      this.#state = 'failed';
      this.#error = error;
      this.#notify();
      await this.#incoming.discard().catch(() => undefined);
    }
  }

  #notify(): void {
    const waiting = this.#wake;
    this.#wake = [];
    for (const wake of waiting) wake();
  }

  /**
   * Resolves when the first bytes are there, so that a failure before any of them can still be answered properly.
   * @throws what the transfer failed with
   */
  async begun(): Promise<void> {
    while (this.#state === 'running' && this.#written <= 1) await this.#change();
    if (this.#state === 'failed') throw this.#error;
  }

  /**
   * The archive from its start, as fast as it comes. To be called before `finished`, and read to its end or given up.
   * @throws what the transfer failed with
   */
  read(): AsyncGenerator<Uint8Array, void, undefined> {
    this.#readers++;
    return this.#follow();
  }

  async *#follow(): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      yield* this.#chunks();
    } finally {
      this.#readers--;
      this.#release();
    }
  }

  /** Closes the file when nobody writes or reads it any more. */
  #release(): void {
    if (this.#readers === 0 && this.#state !== 'running') void this.#incoming.close().catch(() => undefined);
  }

  async *#chunks(): AsyncGenerator<Uint8Array, void, undefined> {
    let position = 0;
    for (;;) {
      if (this.#state === 'failed') throw this.#error;
      const limit = this.#state === 'done' ? this.#written : this.#written - 1;
      if (position < limit) {
        const buffer = Buffer.allocUnsafe(Math.min(READ_SIZE, limit - position));
        const bytesRead = await this.#incoming.read(buffer, position);
        position += bytesRead;
        yield buffer.subarray(0, bytesRead);
      } else if (this.#state === 'done') return;
      else await this.#change();
    }
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#wake.push(resolve));
  }
}
