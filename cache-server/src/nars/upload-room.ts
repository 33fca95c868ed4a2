import { ServerError } from '../errors.js';

const MIB = 2 ** 20;

/** What the threads need for an upload, measured: decoder, encoder, and what is on the way between them, in bytes. */
const THREADS = 16 * MIB;
/** What any upload needs, however small. */
const LEAST = 2 * MIB;
/** Each that waits holds a connection and what its client sent before it was told to wait. */
const MOST_WAITING = 1000;

/** What may be taken of memory, and what for. All in bytes. */
export interface UploadRoomOptions {
  readonly memory: number;
  /** What the storage holds of one upload under way, at most. */
  readonly staging: number;
  /** How long an upload may wait for its turn, in milliseconds: stock Nix tries five times, within seconds of each other. */
  readonly patience: number;
  /** Hears of each that is turned away. */
  readonly onRefused?: () => void;
}

interface Waiter {
  readonly cost: number;
  readonly enter: () => void;
}

/**
 * Lets as many NARs be taken in at once as there is memory for. The others wait, in their order, with nothing of them read;
 * those for whom it takes too long are to come back later.
 */
export class UploadRoom {
  readonly #options: UploadRoomOptions;
  readonly #waiting = new Set<Waiter>();
  #held = 0;
  #running = 0;

  constructor(options: UploadRoomOptions) {
    this.#options = options;
  }

  /** Bytes that are spoken for; uploads that have them, and those that wait for some. */
  get load(): { readonly held: number; readonly running: number; readonly waiting: number } {
    return { held: this.#held, running: this.#running, waiting: this.#waiting.size };
  }

  /**
   * Takes room for an upload of a NAR of so many bytes, if that is known. Disposing of it gives it back.
   * @throws `overloaded`
   */
  async enter(narSize?: number, signal?: AbortSignal): Promise<Disposable> {
    signal?.throwIfAborted();
    const cost = this.#costOf(narSize);
    if (this.#waiting.size > 0 || !this.#fits(cost)) await this.#wait(cost, signal);
    else this.#take(cost);
    let isHeld = true;
    return {
      [Symbol.dispose]: () => {
        if (!isHeld) return;
        isHeld = false;
        this.#held -= cost;
        this.#running--;
        this.#admit();
      },
    };
  }

  /** One that is larger than all there is comes alone. */
  #costOf(narSize = Number.POSITIVE_INFINITY): number {
    const { memory, staging } = this.#options;
    return Math.min(memory, LEAST + Math.min(THREADS + staging, 2 * narSize));
  }

  #fits(cost: number): boolean {
    return this.#held + cost <= this.#options.memory;
  }

  #take(cost: number): void {
    this.#held += cost;
    this.#running++;
  }

  #admit(): void {
    for (const waiter of this.#waiting) {
      if (!this.#fits(waiter.cost)) return;
      this.#waiting.delete(waiter);
      this.#take(waiter.cost);
      waiter.enter();
    }
  }

  async #wait(cost: number, signal: AbortSignal | undefined): Promise<void> {
    const { patience, onRefused } = this.#options;
    const refuse = (): ServerError => {
      onRefused?.();
      return new ServerError('overloaded', 'more NARs are being uploaded than there is memory for');
    };
    if (this.#waiting.size >= MOST_WAITING) throw refuse();
    await new Promise<void>((resolve, reject) => {
      const leave = (error: unknown): void => {
        if (this.#waiting.delete(waiter)) settle(() => reject(error as Error));
        // Whoever stood behind it may be smaller.
        this.#admit();
      };
      const abort = (): void => leave(signal?.reason);
      const timer = setTimeout(() => leave(refuse()), patience);
      const settle = (end: () => void): void => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', abort);
        end();
      };
      const waiter: Waiter = { cost, enter: () => settle(resolve) };
      this.#waiting.add(waiter);
      signal?.addEventListener('abort', abort, { once: true });
    });
  }
}
