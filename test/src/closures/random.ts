import { createCipheriv, createHash } from 'node:crypto';

const blockSize = 64 * 1024;

/** Random bytes and numbers that a seed decides: the same on every machine and every run. */
export class SeededRandom {
  readonly #cipher;
  #block: Buffer = Buffer.alloc(0);
  #position = 0;

  constructor(seed: string) {
    const key = createHash('sha256').update(seed).digest();
    this.#cipher = createCipheriv('aes-256-ctr', key, Buffer.alloc(16));
  }

  /** Bytes that do not compress. */
  bytes(size: number): Buffer {
    return this.#cipher.update(Buffer.alloc(size));
  }

  /** A number from 0 up to 1, which is not reached. */
  fraction(): number {
    if (this.#position + 4 > this.#block.length) {
      this.#block = this.bytes(blockSize);
      this.#position = 0;
    }
    const value = this.#block.readUInt32LE(this.#position);
    this.#position += 4;
    return value / 2 ** 32;
  }

  /** An integer from 0 up to `limit`, which is not reached. */
  below(limit: number): number {
    return Math.floor(this.fraction() * limit);
  }

  /** Bytes that compress some four to one, as programs and text do. */
  words(size: number): Buffer {
    const text = Buffer.alloc(size + maxWordLength);
    let filled = 0;
    while (filled < size) {
      for (const byte of this.bytes(blockSize)) {
        filled += vocabulary[byte]?.copy(text, filled) ?? 0;
        if (filled >= size) break;
      }
    }
    return text.subarray(0, size);
  }
}

const maxWordLength = 16;

/** 256 words of different lengths. */
const vocabulary: readonly Buffer[] = Array.from({ length: 256 }, (_, index) =>
  Buffer.from(
    `${createHash('md5')
      .update(`${index}`)
      .digest('hex')
      .slice(0, 3 + (index % 8))}${index % 9 === 0 ? '\n' : ' '}`,
  ),
);
