import { decompress } from './codec.js';
import { codecMalformed } from './codec-step.js';
import { LarderError } from './errors.js';
import { readSeekTable, type SeekTable, seekTableSize } from './seek-table.js';

/** Reads `length` bytes at `offset` of the compressed file; the stream must give all of them. */
export type FetchRange = (offset: number, length: number) => AsyncIterable<Uint8Array>;

/** Enough for the table of an archive of 85 GB in frames of 16 MiB. */
const TAIL_SIZE = 64 * 1024;

/**
 * Reads a file's seek table with one request as a rule, two for a huge one. `fileSize` is that of the compressed
 * file. Undefined when it is not seekable. Throws `seek-table-malformed`.
 */
export async function fetchSeekTable(
  fetchRange: FetchRange,
  fileSize: number,
): Promise<SeekTable | undefined> {
  const tail = await fetchTail(fetchRange, fileSize, Math.min(TAIL_SIZE, fileSize));
  const size = seekTableSize(tail);
  if (size === undefined || size <= tail.length || size > fileSize) return readSeekTable(tail);
  return readSeekTable(await fetchTail(fetchRange, fileSize, size));
}

async function fetchTail(fetchRange: FetchRange, fileSize: number, size: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of fetchRange(fileSize - size, size)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

export interface ReadRangeOptions {
  readonly table: SeekTable;
  /** First byte of the content wanted. */
  readonly offset: number;
  /** Bytes wanted; the stream ends there. */
  readonly length: number;
  readonly signal?: AbortSignal;
}

/**
 * Reads a part of the content, fetching and decompressing only the frames that hold it, in one request.
 * Throws `range-outside` for what the content does not have, `codec-malformed` when frames and table disagree.
 */
export async function* readRange(
  fetchRange: FetchRange,
  options: ReadRangeOptions,
): AsyncGenerator<Uint8Array> {
  const { table, offset, length, signal } = options;
  const span = locateFrames(table, offset, length);
  if (length === 0) return;
  const compressed = fetchRange(span.compressedOffset, span.compressedSize);
  let at = span.offset;
  for await (const chunk of decompress(compressed, 'zstd', { signal, maxSize: span.size })) {
    const from = Math.max(0, offset - at);
    const to = Math.min(chunk.length, offset + length - at);
    at += chunk.length;
    if (from < to) yield from === 0 && to === chunk.length ? chunk : chunk.subarray(from, to);
  }
  if (at !== span.offset + span.size)
    throw codecMalformed('zstd', 'its frames are not as its seek table says');
}

/** Frames, as one piece: where they are in the file, and of the content. */
export interface FrameSpan {
  readonly compressedOffset: number;
  readonly compressedSize: number;
  readonly offset: number;
  readonly size: number;
}

/** The frames that hold a range. @throws `range-outside` for what the content does not have */
export function locateFrames({ frames, size }: SeekTable, offset: number, length: number): FrameSpan {
  if (offset < 0 || length < 0 || offset + length > size)
    throw new LarderError(
      'range-outside',
      `bytes ${offset} to ${offset + length} were asked for, of ${size} that there are`,
    );
  if (length === 0) return { compressedOffset: 0, compressedSize: 0, offset, size: 0 };
  const first = frames[findFrame(frames, offset)]!;
  const last = frames[findFrame(frames, offset + length - 1)]!;
  const { compressedOffset } = first;
  return {
    compressedOffset,
    compressedSize: last.compressedOffset + last.compressedSize - compressedOffset,
    offset: first.offset,
    size: last.offset + last.size - first.offset,
  };
}

/** Index of the frame that holds the byte at `offset`. */
function findFrame(frames: SeekTable['frames'], offset: number): number {
  let low = 0;
  let high = frames.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if (frames[middle]!.offset <= offset) low = middle;
    else high = middle - 1;
  }
  return low;
}
