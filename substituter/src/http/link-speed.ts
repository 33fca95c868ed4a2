/** Milliseconds of transfer that are remembered: what was before counts half, and so on. */
const memory = 2000;

/** Bytes, or milliseconds, before which nothing is known. */
const fewestBytes = 256 * 1024;
const shortestTime = 200;

/** The latest so many pauses between pieces of a body tell what is a long one; those before which nothing is known. */
const pausesKept = 200;
const fewestPauses = 20;

/** A pause is long that is so many times what 19 of 20 are, but for none that is shorter than this, in milliseconds. */
const longFactor = 10;
const shortestLongPause = 2000;
const unknownLongPause = 3000;

/** Transfers of one server that may be asked for a second time at once: a line that is down is not helped by more. */
const mostHedges = 2;

/** How fast bodies come from a server, all that are under way together, while any is. */
export class LinkSpeed {
  #transfers = 0;
  #bytes = 0;
  #milliseconds = 0;
  #since = 0;
  #isKnown = false;
  readonly #pauses: number[] = [];
  #nextPause = 0;
  #hedges = 0;

  /** Bodies under way. */
  get transfers(): number {
    return this.#transfers;
  }

  /** `undefined` before enough came. */
  get bytesPerSecond(): number | undefined {
    if (this.#transfers > 0) this.#advance();
    this.#isKnown ||= this.#bytes >= fewestBytes || (this.#bytes > 0 && this.#milliseconds >= shortestTime);
    return this.#isKnown ? (this.#bytes / Math.max(1, this.#milliseconds)) * 1000 : undefined;
  }

  /** Milliseconds without a byte after which a transfer is slower than the others. */
  get longPause(): number {
    if (this.#pauses.length < fewestPauses) return unknownLongPause;
    const slow = [...this.#pauses].sort((a, b) => a - b)[Math.floor(this.#pauses.length * 0.95)]!;
    return Math.max(shortestLongPause, longFactor * slow);
  }

  /** Whether one more transfer may be asked for a second time: `endHedge` is to follow then. */
  beginHedge(): boolean {
    if (this.#hedges >= mostHedges) return false;
    this.#hedges++;
    return true;
  }

  endHedge(): void {
    this.#hedges--;
  }

  /** The same bytes, counted. */
  async *watch(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
    if (this.#transfers === 0) this.#since = performance.now();
    else this.#advance();
    this.#transfers++;
    try {
      let asked = performance.now();
      for await (const chunk of body) {
        this.#bytes += chunk.length;
        this.#pauses[this.#nextPause] = performance.now() - asked;
        this.#nextPause = (this.#nextPause + 1) % pausesKept;
        yield chunk;
        asked = performance.now();
      }
    } finally {
      this.#advance();
      this.#transfers--;
    }
  }

  #advance(): void {
    const now = performance.now();
    this.#milliseconds += now - this.#since;
    this.#since = now;
    if (this.#milliseconds <= memory) return;
    const share = memory / 2 / this.#milliseconds;
    this.#milliseconds *= share;
    this.#bytes *= share;
  }
}
