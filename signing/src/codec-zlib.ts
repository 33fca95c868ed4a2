import {
  type BrotliCompress,
  type BrotliDecompress,
  constants,
  createBrotliCompress,
  createBrotliDecompress,
  createGunzip,
  createGzip,
  type Gunzip,
  type Gzip,
} from 'node:zlib';
import { codecMalformed, codecTruncated, OUTPUT_SIZE } from './codec-step.js';

type Engine = Gzip | Gunzip | BrotliCompress | BrotliDecompress;
/** The codecs that Node has itself. They run on its thread pool, not on the calling thread. */
export type ZlibCompression = 'gzip' | 'br';

const STREAM_OPTIONS = { chunkSize: OUTPUT_SIZE, readableHighWaterMark: OUTPUT_SIZE };

/** Decompresses gzip (any number of members) or brotli. Throws `codec-malformed`, `codec-truncated`. */
export function decompressZlib(
  source: AsyncIterable<Uint8Array>,
  compression: ZlibCompression,
): AsyncGenerator<Uint8Array> {
  const engine =
    compression === 'gzip' ? createGunzip(STREAM_OPTIONS) : createBrotliDecompress(STREAM_OPTIONS);
  return run(source, engine, compression);
}

/** Compresses: gzip at level 1 to 9 (6 by default), brotli at quality 0 to 11 (6 by default; 11 is slow). */
export function compressZlib(
  source: AsyncIterable<Uint8Array>,
  compression: ZlibCompression,
  level: number = 6,
): AsyncGenerator<Uint8Array> {
  const params = { [constants.BROTLI_PARAM_QUALITY]: level };
  const engine =
    compression === 'gzip'
      ? createGzip({ ...STREAM_OPTIONS, level })
      : createBrotliCompress({ ...STREAM_OPTIONS, params });
  return run(source, engine, compression);
}

/**
 * Pulls the source through the engine one chunk at a time. No pipe: the next chunk is asked for only when the
 * last was used up and its output taken, so nothing runs on behind a consumer that stopped.
 */
async function* run(
  source: AsyncIterable<Uint8Array>,
  engine: Engine,
  compression: ZlibCompression,
): AsyncGenerator<Uint8Array> {
  const state = new EngineState(engine, compression);
  let fed = 0;
  try {
    for await (const chunk of source) {
      if (chunk.length === 0) continue;
      fed += chunk.length;
      yield* state.take((done) => engine.write(chunk, done));
      // The engine calls it done before it has used all it was given.
      if (state.ended) break;
    }
    if (!state.ended) yield* state.take(() => engine.end());
    if (fed === 0) throw codecTruncated(compression);
    if (engine.bytesWritten < fed) throw codecMalformed(compression, 'something else follows its end');
  } finally {
    engine.destroy();
  }
}

class EngineState {
  readonly #engine: Engine;
  readonly #compression: string;
  #wake: () => void = () => {};
  #error: unknown;
  ended = false;

  constructor(engine: Engine, compression: string) {
    this.#engine = engine;
    this.#compression = compression;
    engine.on('readable', () => this.#wake());
    engine.on('end', () => {
      this.ended = true;
      this.#wake();
    });
    engine.on('error', (error: unknown) => {
      this.#error = error;
      this.#wake();
    });
  }

  /** Starts a write and yields what comes out until the engine calls it `done` or ends by itself. */
  async *take(start: (done: (error?: Error | null) => void) => void): AsyncGenerator<Uint8Array> {
    let done = false;
    start((error) => {
      done = true;
      this.#error ??= error ?? undefined;
      this.#wake();
    });
    for (;;) {
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      for (let output = this.#read(); output !== null; output = this.#read()) yield output;
      if (this.#error !== undefined) throw this.#failure(this.#error);
      if (done || this.ended) return;
      await woken;
    }
  }

  #read(): Buffer | null {
    return this.#engine.read() as Buffer | null;
  }

  #failure(error: unknown): Error {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'Z_BUF_ERROR') return codecTruncated(this.#compression);
    return codecMalformed(this.#compression, message, error);
  }
}
