import { setTimeout as delay } from 'node:timers/promises';
import { ServerError } from '../errors.js';

/** How often one that waits looks for room, in milliseconds. */
const LOOK = 100;

export interface BodyMemoryOptions {
  /** Bytes of all bodies together. */
  readonly limit: number;
  /** How long a body may take to come before it gives way to others, and how long one waits for room, in milliseconds. */
  readonly patience: number;
  /** Hears of each that is refused, or gives way. */
  readonly onRefused?: () => void;
}

/**
 * The memory of bodies that are read whole, over all connections. Each may be as large as its route allows; together they may
 * not. When there is no more, a body waits a little for room; meanwhile whichever has been coming the longest gives way if it
 * had time enough. So those who send slowly on purpose, however many, keep out nobody else.
 */
export class BodyMemory {
  readonly #options: BodyMemoryOptions;
  /** Those that still come, in the order of their beginning. */
  readonly #coming = new Set<HeldBody>();
  #held = 0;
  /** Bodies that take more than their bytes: what they were read to. */
  #expanded = 0;

  constructor(options: BodyMemoryOptions) {
    this.#options = options;
  }

  /** Bytes. */
  get held(): number {
    return this.#held;
  }

  /** A body begins to come. Whoever reads it tells it how much it takes, and releases it when its request is over. */
  begin(): HeldBody {
    const body: HeldBody = new HeldBody({
      make: (bytes) => this.#makeRoom(bytes, body),
      free: (bytes, isExpanded) => {
        this.#held -= bytes;
        if (isExpanded) this.#expanded--;
      },
      leave: () => this.#coming.delete(body),
    });
    this.#coming.add(body);
    return body;
  }

  /** Nothing to wait for where there is room. */
  #makeRoom(bytes: number, body: HeldBody): Promise<void> | undefined {
    return this.#take(bytes, body) ? undefined : this.#waitForRoom(bytes, body);
  }

  /**
   * One that is larger than all there is comes alone. Of those that came whole and are to be read, one at a time may go beyond
   * the limit: they would wait for each other.
   */
  #take(bytes: number, body: HeldBody): boolean {
    const mayExceed = this.#held <= body.bytes || (body.isExpanded && this.#expanded === 0);
    if (this.#held + bytes > this.#options.limit && !mayExceed) return false;
    this.#held += bytes;
    if (body.isExpanded) this.#expanded++;
    return true;
  }

  async #waitForRoom(bytes: number, body: HeldBody): Promise<void> {
    const { patience } = this.#options;
    const deadline = performance.now() + patience;
    while (!this.#take(bytes, body)) {
      const isLate = performance.now() >= deadline;
      const [oldest] = this.#coming;
      if (oldest !== undefined && oldest.age > patience) this.#dismiss(oldest);
      else if (isLate) this.#dismiss(body);
      else await delay(LOOK);
      body.lost.throwIfAborted();
    }
  }

  #dismiss(body: HeldBody): void {
    this.#options.onRefused?.();
    const error = new ServerError('overloaded', 'requests are larger together than there is memory for');
    body.giveWay(error);
  }
}

interface Holder {
  readonly make: (bytes: number) => Promise<void> | undefined;
  readonly free: (bytes: number, isExpanded: boolean) => void;
  readonly leave: () => void;
}

/** What one body takes. */
export class HeldBody {
  readonly #began = performance.now();
  readonly #holder: Holder;
  readonly #lost = new AbortController();
  #bytes = 0;
  #isExpanded = false;
  #hasExpanded = false;
  #isOver = false;

  constructor(holder: Holder) {
    this.#holder = holder;
  }

  /** Milliseconds since it began to come. */
  get age(): number {
    return performance.now() - this.#began;
  }

  /** Aborted when it has to give way to others. */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /** Bytes it has taken. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Whether it takes more than its bytes, or waits to. */
  get isExpanded(): boolean {
    return this.#isExpanded;
  }

  /** Takes more bytes. @throws `overloaded` */
  async grow(bytes: number): Promise<void> {
    await this.#holder.make(bytes);
    this.#bytes += bytes;
    // It was over while it waited.
    if (this.#isOver) this.#free();
  }

  /** Takes so many bytes for what it is read to, once it came whole. @throws `overloaded` */
  async expand(bytes: number): Promise<void> {
    this.#isExpanded = true;
    await this.#holder.make(bytes);
    this.#bytes += bytes;
    this.#hasExpanded = true;
    if (this.#isOver) this.#free();
  }

  /** All of it came: it gives way to nobody now. */
  complete(): void {
    this.#holder.leave();
  }

  /** Its request is over, or needs it no more. */
  release(): void {
    this.#isOver = true;
    this.#holder.leave();
    this.#free();
  }

  giveWay(error: ServerError): void {
    this.#lost.abort(error);
    this.release();
  }

  #free(): void {
    if (this.#bytes === 0) return;
    this.#holder.free(this.#bytes, this.#hasExpanded);
    this.#bytes = 0;
  }
}
