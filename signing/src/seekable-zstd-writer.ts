import type { CCtx, EndDirective } from 'zstd-napi/binding.js';
import { OUTPUT_SIZE, type StepCodec } from './codec-step.js';
import { closeZstdContext, openZstdContext, zstd } from './codec-zstd.js';
import { LarderError } from './errors.js';
import { formatSeekTable, type SeekEntry } from './seek-table.js';

/**
 * Uncompressed bytes in a frame. Measured at level 3 on Debian packages, frames of 16 MiB cost 0.1 % over one frame,
 * of 4 MiB 0.8 %, of 1 MiB 4.6 %.
 */
export const FRAME_SIZE = 16 * 1024 * 1024;

export interface SeekableZstdOptions {
  /** 1 (fast) to 22 (small); 3 by default. */
  readonly level?: number;
  /** Uncompressed bytes in a frame; 16 MiB by default. */
  readonly frameSize?: number;
  /** Uncompressed bytes in all, if known: the frames' headers then say their sizes. Any other is `size-mismatch`. */
  readonly size?: number;
  /** Frames that stand before those made here; the list is added to. */
  readonly entries?: SeekEntry[];
}

/** Content up to this much is gathered first: a small archive is then compressed with its size known. */
const HEAD_SIZE = 256 * 1024;
const NO_BYTES = new Uint8Array(0);

/** A frame's checksum is its last four bytes: the same low bits of XXH64 that the seek table wants. */
export function frameChecksum(frame: Uint8Array): number {
  return Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength).readUInt32LE(frame.length - 4);
}

/** Compresses a whole frame at once. */
export function compressFrame(content: Uint8Array, level?: number): Buffer {
  const context = openZstdContext({ level });
  const output = Buffer.allocUnsafeSlow(zstd().compressBound(content.length));
  const frame = output.subarray(0, context.compress2(output, content));
  closeZstdContext(context);
  return frame;
}

/**
 * Writes seekable zstd step by step, without holding a frame: for use in a worker. Most archives are small; knowing
 * their size, zstd sets up tables of kilobytes rather than megabytes.
 */
export class SeekableZstdEncoder implements StepCodec {
  #context: CCtx | undefined;
  readonly #output = Buffer.allocUnsafeSlow(OUTPUT_SIZE);
  readonly #frameSize: number;
  readonly #size: number | undefined;
  readonly #entries: SeekEntry[];
  readonly #level: number | undefined;
  #head: Uint8Array[] | undefined = [];
  #headSize = 0;
  /** The last bytes put out, for the checksum. */
  readonly #last = Buffer.alloc(4);
  #left: number | undefined;
  #frameContent = 0;
  #frameCompressed = 0;

  constructor(options: SeekableZstdOptions = {}) {
    this.#level = options.level;
    this.#frameSize = options.frameSize ?? FRAME_SIZE;
    this.#entries = options.entries ?? [];
    this.#size = options.size;
    this.#left = options.size;
  }

  *write(input: Uint8Array): Generator<Uint8Array> {
    if (this.#head === undefined) {
      yield* this.#writeFrames(input);
      return;
    }
    this.#headSize += input.length;
    if (this.#headSize <= HEAD_SIZE) {
      this.#head.push(Uint8Array.from(input));
      return;
    }
    yield* this.#writeHead(this.#head);
    yield* this.#writeFrames(input);
  }

  *end(): Generator<Uint8Array> {
    if (this.#head !== undefined) {
      this.#left ??= this.#headSize;
      yield* this.#writeHead(this.#head);
    }
    if (this.#left !== undefined && this.#left > 0) throw this.#mismatch();
    // Even nothing gets a frame: a file without one is not zstd.
    if (this.#frameContent > 0 || this.#entries.length === 0) yield* this.#endFrame();
    yield formatSeekTable(this.#entries);
  }

  *#writeHead(head: readonly Uint8Array[]): Generator<Uint8Array> {
    this.#head = undefined;
    this.#context = openZstdContext({ level: this.#level });
    for (const chunk of head) yield* this.#writeFrames(chunk);
  }

  *#writeFrames(input: Uint8Array): Generator<Uint8Array> {
    for (let at = 0; at < input.length; ) {
      if (this.#frameContent === 0) this.#pledge();
      const size = Math.min(input.length - at, this.#frameSize - this.#frameContent);
      yield* this.#compress(input.subarray(at, at + size));
      at += size;
      this.#frameContent += size;
      if (this.#frameContent === this.#frameSize) yield* this.#endFrame();
    }
  }

  close(): void {
    if (this.#context !== undefined) closeZstdContext(this.#context);
    this.#context = undefined;
  }

  #pledge(): void {
    if (this.#left === undefined) return;
    if (this.#left === 0) throw this.#mismatch();
    const size = Math.min(this.#left, this.#frameSize);
    this.#context!.setPledgedSrcSize(size);
    this.#left -= size;
  }

  *#compress(input: Uint8Array): Generator<Uint8Array> {
    const proceed = zstd().EndDirective.continue;
    for (let rest = input; rest.length > 0; ) {
      const [, produced, consumed] = this.#step(rest, proceed);
      rest = rest.subarray(consumed);
      if (produced > 0) yield this.#put(produced);
    }
  }

  *#endFrame(): Generator<Uint8Array> {
    const finish = zstd().EndDirective.end;
    for (let left = 1; left > 0; ) {
      const [remaining, produced] = this.#step(NO_BYTES, finish);
      left = remaining;
      if (produced > 0) yield this.#put(produced);
    }
    this.#entries.push({
      compressedSize: this.#frameCompressed,
      size: this.#frameContent,
      checksum: this.#last.readUInt32LE(0),
    });
    this.#frameCompressed = 0;
    this.#frameContent = 0;
  }

  #step(input: Uint8Array, directive: EndDirective): [left: number, produced: number, consumed: number] {
    try {
      return this.#context!.compressStream2(this.#output, input, directive);
    } catch (error) {
      if (error instanceof Error && error.message.includes('Src size')) throw this.#mismatch();
      throw error;
    }
  }

  #mismatch(): LarderError<'size-mismatch'> {
    return new LarderError('size-mismatch', `the stream has other than the ${this.#size} bytes announced`);
  }

  #put(produced: number): Uint8Array {
    const bytes = this.#output.subarray(0, produced);
    const kept = bytes.subarray(-4);
    this.#last.copyWithin(0, kept.length);
    this.#last.set(kept, 4 - kept.length);
    this.#frameCompressed += produced;
    return bytes;
  }
}
