import type { OnZstdFrame } from './codec-zstd.js';
import { readSeekTable } from './seek-table.js';

/** Of a file's end, enough for the seek table of 85 GB. */
const TAIL_SIZE = 64 * 1024;

/**
 * Tells whether a zstd file that is being decompressed is seekable: whether it ends in a seek table, and the table
 * says of every frame what the decoder found. So a file can be kept as it came, once it was read through.
 */
export class SeekableCheck {
  readonly #ends: [inputEnd: number, outputEnd: number][] = [];
  #tail: Buffer = Buffer.alloc(0);

  /** To be given to the decoder. */
  readonly onFrame: OnZstdFrame = (inputEnd, outputEnd) => {
    this.#ends.push([inputEnd, outputEnd]);
  };

  /** Takes the compressed bytes. */
  write(chunk: Uint8Array): void {
    const fresh = chunk.subarray(-TAIL_SIZE);
    const old = fresh.length < TAIL_SIZE ? this.#tail.subarray(-(TAIL_SIZE - fresh.length)) : Buffer.alloc(0);
    this.#tail = Buffer.concat([old, fresh]);
  }

  /** The answer, at the end. */
  matches(): boolean {
    let table: ReturnType<typeof readSeekTable>;
    try {
      table = readSeekTable(this.#tail);
    } catch {
      return false;
    }
    // The table itself is the last frame.
    if (table === undefined || table.frames.length !== this.#ends.length - 1) return false;
    return table.frames.every((frame, i) => {
      const [inputEnd, outputEnd] = this.#ends[i]!;
      return (
        frame.compressedOffset + frame.compressedSize === inputEnd && frame.offset + frame.size === outputEnd
      );
    });
  }
}
