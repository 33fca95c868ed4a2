/** Milliseconds of transfer that are remembered: what was before counts half, and so on. */
const memory = 2000;

/** Bytes, or milliseconds, before which nothing is known. */
const fewestBytes = 256 * 1024;
const shortestTime = 200;

/** How fast bodies come from a server, all that are under way together, while any is. */
export class LinkSpeed {
  #transfers = 0;
  #bytes = 0;
  #milliseconds = 0;
  #since = 0;
  #isKnown = false;

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

  /** The same bytes, counted. */
  async *watch(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
    if (this.#transfers === 0) this.#since = performance.now();
    else this.#advance();
    this.#transfers++;
    try {
      for await (const chunk of body) {
        this.#bytes += chunk.length;
        yield chunk;
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
