import { Bzip2Decoder } from './codec-bzip2.js';
import { DictionaryGuard } from './codec-dictionary.js';
import { Lz4Decoder } from './codec-lz4.js';
import { LzipDecoder } from './codec-lzip.js';
import { LzmaNativeCodec } from './codec-lzma.js';
import { codecOverflow, type StepCodec } from './codec-step.js';
import { openXzDecoder, openXzEncoder } from './codec-xz.js';
import { compressZlib, decompressZlib } from './codec-zlib.js';
import { ZstdDecoder, type ZstdDecompressOptions, ZstdEncoder } from './codec-zstd.js';
import type { Compression } from './compression.js';
import { LarderError } from './errors.js';

export interface DecompressOptions extends ZstdDecompressOptions {
  /** Fails with `codec-too-large` once more than this many bytes came out: the guard against bombs. */
  readonly maxSize?: number;
  /**
   * Yields chunks that are valid only until the next one is asked for, which saves a copy. For consumers that
   * look at the bytes and drop them.
   */
  readonly lend?: boolean;
  readonly signal?: AbortSignal;
}

/**
 * Decompresses a stream in bounded memory; concatenated frames or members are read as one, as the formats' own
 * tools do. Runs on the calling thread (gzip and br: on Node's thread pool), so bulk work belongs in a worker:
 * see nar-work. Throws `codec-truncated` when the input ends inside the data, `codec-malformed` when it is not
 * such data, was damaged, or has anything behind its end, and `codec-too-large` beyond `maxSize`.
 */
export async function* decompress(
  source: AsyncIterable<Uint8Array>,
  compression: Compression,
  options: DecompressOptions = {},
): AsyncGenerator<Uint8Array> {
  const { maxSize = Infinity, lend = false, signal } = options;
  let size = 0;
  for await (const chunk of decode(guard(source, signal), compression, options)) {
    signal?.throwIfAborted();
    size += chunk.length;
    if (size > maxSize) throw codecOverflow(compression, maxSize);
    yield lend ? chunk : Uint8Array.from(chunk);
  }
}

export interface CompressOptions {
  /** zstd 1 to 22 (3), xz and lzma 0 to 9 (6), gzip 1 to 9 (6), br 0 to 11 (6). */
  readonly level?: number;
  /** zstd: log2 of the window, with long-distance matching. Beyond 27, readers must be told to allow it. */
  readonly windowLog?: number;
  readonly signal?: AbortSignal;
}

/**
 * Compresses a stream in bounded memory, on the calling thread (gzip and br: on Node's thread pool). zstd gives
 * one frame with a checksum; see seekable-zstd for many. Throws `compression-unsupported` for bzip2, lzip and
 * lz4, which Larder only reads.
 */
export async function* compress(
  source: AsyncIterable<Uint8Array>,
  compression: Compression,
  options: CompressOptions = {},
): AsyncGenerator<Uint8Array> {
  const { signal } = options;
  for await (const chunk of encode(guard(source, signal), compression, options)) {
    signal?.throwIfAborted();
    yield Uint8Array.from(chunk);
  }
}

async function* guard(source: AsyncIterable<Uint8Array>, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
  signal?.throwIfAborted();
  for await (const chunk of source) {
    signal?.throwIfAborted();
    yield chunk;
  }
}

async function* decode(
  source: AsyncIterable<Uint8Array>,
  compression: Compression,
  options: DecompressOptions,
): AsyncIterable<Uint8Array> {
  if (compression === 'none') yield* source;
  else if (compression === 'gzip' || compression === 'br') yield* decompressZlib(source, compression);
  else yield* runSteps(source, await openDecoder(compression, options));
}

function openDecoder(
  compression: Exclude<Compression, 'none' | 'gzip' | 'br'>,
  options: DecompressOptions,
): StepCodec | Promise<StepCodec> {
  switch (compression) {
    case 'zstd':
      return new ZstdDecoder(options);
    case 'xz':
      return openXzDecoder().then(DictionaryGuard.xz);
    case 'bzip2':
      return new Bzip2Decoder();
    case 'lzma':
      return DictionaryGuard.lzma(LzmaNativeCodec.aloneDecoder());
    case 'lzip':
      return new LzipDecoder();
    case 'lz4':
      return new Lz4Decoder();
  }
}

async function* encode(
  source: AsyncIterable<Uint8Array>,
  compression: Compression,
  options: CompressOptions,
): AsyncIterable<Uint8Array> {
  switch (compression) {
    case 'none':
      return yield* source;
    case 'gzip':
    case 'br':
      return yield* compressZlib(source, compression, options.level);
    case 'zstd':
      return yield* runSteps(source, new ZstdEncoder(options));
    case 'xz':
      return yield* runSteps(source, await openXzEncoder(options.level));
    case 'lzma':
      return yield* runSteps(source, LzmaNativeCodec.aloneEncoder(options.level ?? 6));
    case 'bzip2':
    case 'lzip':
    case 'lz4':
      throw new LarderError(
        'compression-unsupported',
        `Larder reads ${compression} but does not write it: choose zstd, xz, br, gzip, lzma or none`,
        { fields: { compression } },
      );
  }
}

async function* runSteps(source: AsyncIterable<Uint8Array>, codec: StepCodec): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of source) yield* codec.write(chunk);
    yield* codec.end();
  } finally {
    codec.close();
  }
}
