import { decompress } from './codec.js';
import type { StepCodec } from './codec-step.js';
import type { Compression } from './compression.js';
import { SeekableRewriter } from './seekable-zstd-rewriter.js';
import { SeekableZstdEncoder } from './seekable-zstd-writer.js';

export interface MakeSeekableOptions {
  readonly compression: Compression;
  /** Sees the content on its way; a chunk is lent for the call. What it throws ends the stream. */
  readonly onContent: (chunk: Uint8Array) => void;
  /** Content in all at most; more is `codec-too-large`. */
  readonly maxSize?: number;
  readonly windowLogMax?: number;
  /** zstd level for what is compressed anew; 3 by default. */
  readonly level?: number;
  readonly signal?: AbortSignal;
}

/**
 * Makes seekable zstd of a stream in any compression, in one pass and on this thread. Frames of zstd that will do are
 * kept, so seekable zstd passes at the cost of reading it. Chunks are lent until the next is asked for.
 * Throws as `decompress` does.
 */
export async function* makeSeekable(
  source: AsyncIterable<Uint8Array>,
  options: MakeSeekableOptions,
): AsyncGenerator<Uint8Array> {
  const { compression, onContent, level, signal, ...limits } = options;
  if (compression === 'zstd') {
    yield* run(source, new SeekableRewriter({ onContent, level, ...limits }), signal);
    return;
  }
  const content = decompress(source, compression, { lend: true, signal, ...limits });
  yield* run(look(content, onContent), new SeekableZstdEncoder({ level }), signal);
}

async function* look(
  source: AsyncIterable<Uint8Array>,
  onContent: (chunk: Uint8Array) => void,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of source) {
    onContent(chunk);
    yield chunk;
  }
}

async function* run(
  source: AsyncIterable<Uint8Array>,
  codec: StepCodec,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of source) {
      signal?.throwIfAborted();
      yield* codec.write(chunk);
    }
    yield* codec.end();
  } finally {
    codec.close();
  }
}
