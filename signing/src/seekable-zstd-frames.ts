import { formatSeekTable, type SeekEntry } from './seek-table.js';
import { FRAME_SIZE, frameChecksum } from './seekable-zstd-writer.js';

/** Compresses one frame somewhere else, and gives the content's buffer back. */
export type CompressFrame = (
  content: Uint8Array,
) => Promise<{ readonly frame: Uint8Array; readonly buffer: ArrayBuffer }>;

export interface WriteFramesOptions {
  readonly frameSize?: number;
  /** Frames under way at a time; memory is about twice that many frames and one. */
  readonly concurrency: number;
}

interface Pending {
  readonly size: number;
  readonly compressed: ReturnType<CompressFrame>;
}

/** Writes seekable zstd with several frames being compressed at once. */
export async function* writeFrames(
  source: AsyncIterable<Uint8Array>,
  compress: CompressFrame,
  { frameSize = FRAME_SIZE, concurrency }: WriteFramesOptions,
): AsyncGenerator<Uint8Array> {
  const entries: SeekEntry[] = [];
  const pending: Pending[] = [];
  const spares: ArrayBuffer[] = [];
  const finish = async (): Promise<Uint8Array> => {
    const { size, compressed } = pending.shift()!;
    const { frame, buffer } = await compressed;
    spares.push(buffer);
    entries.push({ compressedSize: frame.length, size, checksum: frameChecksum(frame) });
    return frame;
  };
  for await (const content of gatherFrames(source, frameSize, spares)) {
    // Before the content's buffer is given away.
    const size = content.length;
    const compressed = compress(content);
    // A failure is met when its turn comes, or with the stream's own.
    compressed.catch(() => {});
    pending.push({ size, compressed });
    if (pending.length >= concurrency) yield await finish();
  }
  while (pending.length > 0) yield await finish();
  yield formatSeekTable(entries);
}

/** Cuts a stream into frames, the last one shorter; at least one, however empty. */
async function* gatherFrames(
  source: AsyncIterable<Uint8Array>,
  frameSize: number,
  spares: ArrayBuffer[],
): AsyncGenerator<Uint8Array> {
  const allocate = (): Uint8Array => {
    const spare = spares.pop();
    return spare === undefined ? Buffer.allocUnsafeSlow(frameSize) : new Uint8Array(spare);
  };
  let frame = allocate();
  let filled = 0;
  let count = 0;
  for await (const chunk of source) {
    for (let at = 0; at < chunk.length; ) {
      const size = Math.min(chunk.length - at, frameSize - filled);
      frame.set(chunk.subarray(at, at + size), filled);
      filled += size;
      at += size;
      if (filled < frameSize) continue;
      yield frame;
      count += 1;
      frame = allocate();
      filled = 0;
    }
  }
  if (filled > 0 || count === 0) yield frame.subarray(0, filled);
}
