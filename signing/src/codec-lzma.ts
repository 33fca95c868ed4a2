import { createRequire } from 'node:module';
import { codecMalformed, codecTruncated, type StepCodec } from './codec-step.js';

const require = createRequire(import.meta.url);

interface LiblzmaError extends Error {
  readonly code: number;
}

/** The native stream inside lzma-native, which @types/lzma-native leaves out. */
interface NativeStream {
  bufferHandler: (
    output: Buffer | null | undefined,
    processedChunks: number | undefined,
    error: LiblzmaError | null | undefined,
    totalIn: number | null,
  ) => void;
  streamDecoder(options: { flags: number }): void;
  aloneDecoder(options: object): void;
  aloneEncoder(options: { preset: number }): void;
  easyEncoder(options: { preset: number; check: number }): void;
  /** Codes `input` (null: finish) and calls `bufferHandler` for each piece of output before it returns. */
  code(input: Uint8Array | null, async: false): void;
  resetUnderlying(): void;
}
interface LzmaNative {
  readonly Stream: new () => NativeStream;
  readonly CONCATENATED: number;
  readonly CHECK_CRC64: number;
  crc32(input: Uint8Array, previous: number): number;
}

/** A step's output is held until it is yielded. xz expands 7000-fold at most, so this bounds it to 28 MiB. */
const INPUT_SIZE = 4096;
/** LZMA_BUF_ERROR of liblzma. */
const BUFFER_ERROR = 10;

let loaded: LzmaNative | undefined;
function library(): LzmaNative {
  loaded ??= require('lzma-native') as LzmaNative;
  return loaded;
}

/** CRC-32 as in ISO 3309 (zlib's), continuing from `previous`. */
export function computeCrc32(bytes: Uint8Array, previous: number): number {
  return library().crc32(bytes, previous);
}

/** liblzma as lzma-native binds it: slower than node-liblzma but always there, and it knows .lzma. */
export class LzmaNativeCodec implements StepCodec {
  readonly #compression: string;
  readonly #stream: NativeStream;
  #pieces: Uint8Array[] = [];
  #error: LiblzmaError | undefined;
  #fed = 0;
  #consumed = 0;
  #ended = false;
  #closed = false;

  private constructor(compression: string, open: (stream: NativeStream, library: LzmaNative) => void) {
    this.#compression = compression;
    this.#stream = new (library().Stream)();
    this.#stream.bufferHandler = (output, _chunks, error, totalIn) => {
      if (error) this.#error = error;
      else if (output) this.#pieces.push(output);
      else if (output === null && !this.#ended) {
        this.#ended = true;
        this.#consumed = totalIn ?? this.#fed;
      }
    };
    open(this.#stream, library());
  }

  static xzDecoder(): LzmaNativeCodec {
    return new LzmaNativeCodec('xz', (stream, { CONCATENATED }) =>
      stream.streamDecoder({ flags: CONCATENATED }),
    );
  }

  static xzEncoder(preset: number): LzmaNativeCodec {
    return new LzmaNativeCodec('xz', (stream, { CHECK_CRC64 }) =>
      stream.easyEncoder({ preset, check: CHECK_CRC64 }),
    );
  }

  /** .lzma ("LZMA alone"), and the body of a .lz member, which `compression` then names in errors. */
  static aloneDecoder(compression: string = 'lzma'): LzmaNativeCodec {
    return new LzmaNativeCodec(compression, (stream) => stream.aloneDecoder({}));
  }

  static aloneEncoder(preset: number): LzmaNativeCodec {
    return new LzmaNativeCodec('lzma', (stream) => stream.aloneEncoder({ preset }));
  }

  /** Bytes given beyond the end of the compressed data, once that is known; else undefined. */
  get surplus(): number | undefined {
    return this.#ended ? this.#fed - this.#consumed : undefined;
  }

  *write(input: Uint8Array): Generator<Uint8Array> {
    for (let offset = 0; offset < input.length; offset += INPUT_SIZE) {
      const piece = input.subarray(offset, offset + INPUT_SIZE);
      this.#fed += piece.length;
      if (!this.#ended) yield* this.#step(piece);
    }
    if ((this.surplus ?? 0) > 0 && this.#compression !== 'lzip') {
      throw codecMalformed(this.#compression, 'something else follows its end');
    }
  }

  *end(): Generator<Uint8Array> {
    if (!this.#ended) yield* this.#step(null);
    if (!this.#ended) throw codecTruncated(this.#compression);
  }

  *#step(input: Uint8Array | null): Generator<Uint8Array> {
    this.#stream.code(input, false);
    const pieces = this.#pieces;
    this.#pieces = [];
    yield* pieces;
    if (this.#error === undefined) return;
    // "No progress is possible" on the last step is liblzma's way to miss the end.
    if (input === null && this.#error.code === BUFFER_ERROR) throw codecTruncated(this.#compression);
    throw codecMalformed(this.#compression, this.#error.message.toLowerCase(), this.#error);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#stream.resetUnderlying();
  }
}
