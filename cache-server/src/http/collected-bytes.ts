/** Blocks of it: the first, and the largest, in bytes. */
const FIRST_BLOCK = 4096;
const LARGEST_BLOCK = 2 ** 20;

/** Bytes that come in pieces. They are copied: a piece of one byte would take hundreds. */
export class CollectedBytes {
  readonly #grow: (bytes: number) => Promise<void>;
  readonly #blocks: Buffer[] = [];
  #filled = 0;

  /** @param grow is told of each block before it is allocated, and waited for */
  constructor(grow: (bytes: number) => Promise<void>) {
    this.#grow = grow;
  }

  async write(chunk: Uint8Array): Promise<void> {
    for (let at = 0; at < chunk.length; ) {
      const block = await this.#blockWithRoom();
      const taken = Math.min(block.length - this.#filled, chunk.length - at);
      block.set(chunk.subarray(at, at + taken), this.#filled);
      this.#filled += taken;
      at += taken;
    }
  }

  async #blockWithRoom(): Promise<Buffer> {
    const last = this.#blocks.at(-1);
    if (last !== undefined && this.#filled < last.length) return last;
    const size = last === undefined ? FIRST_BLOCK : Math.min(LARGEST_BLOCK, 2 * last.length);
    await this.#grow(size);
    const block = Buffer.allocUnsafe(size);
    this.#blocks.push(block);
    this.#filled = 0;
    return block;
  }

  /** All of them in one piece, once. */
  take(): Buffer {
    const last = this.#blocks.pop()?.subarray(0, this.#filled) ?? Buffer.alloc(0);
    if (this.#blocks.length === 0) return last;
    return Buffer.concat([...this.#blocks.splice(0), last]);
  }
}
