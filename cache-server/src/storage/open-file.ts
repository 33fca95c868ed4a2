import { closeSync, fstatSync, open, read } from 'node:fs';
import type { Writable } from 'node:stream';
import { promisify } from 'node:util';
import type { ByteRange } from './storage.js';

/**
 * Bytes read and written at a time. Whoever takes them fast gets larger chunks, which cost fewer calls; beyond a mebibyte
 * that saves nothing. The slow, of whom there may be thousands, get small ones: two for each are in memory.
 */
const SIZES = [64 * 1024, 256 * 1024, 1024 * 1024] as const;
/** Milliseconds within which a chunk leaves, for the next to be larger; and beyond which the next is small again. */
const FAST = 10;
const SLOW = 100;
/** Bytes of buffers of each size that are kept for the next file. */
const KEPT = 32 * 1024 * 1024;

const openFile = promisify(open);
const readFile = promisify(read);

/** By the index of their size. */
const spare: readonly Buffer[][] = SIZES.map(() => []);

/**
 * A file that is open for reading, below Node's streams: those make a new buffer for every chunk, whose pages the kernel
 * must find each time, and read once more to see that there is no more. For archives that is most of what a read costs.
 */
export class OpenFile {
  readonly #fd: number;
  readonly size: number;
  #isClosed = false;

  private constructor(fd: number, size: number) {
    this.#fd = fd;
    this.size = size;
  }

  /** @throws what opening throws: ENOENT, EACCES */
  static async open(path: string): Promise<OpenFile> {
    const fd = await openFile(path, 'r');
    try {
      // At once: the kernel has just had it in its hands, while a turn in the thread pool takes longer than all the rest.
      return new OpenFile(fd, fstatSync(fd).size);
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }

  /** Its descriptor, for somebody else to close. */
  handOver(): number {
    this.#isClosed = true;
    return this.#fd;
  }

  /** Closes it, unless something did. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    closeSync(this.#fd);
  }

  /**
   * Writes a range of it to `sink`, the next chunk being read while one is on its way. Does not end `sink`, which
   * must be done with the bytes when it says that they are written: as sockets are, and responses to a socket.
   * @throws FileReadError, and `ERR_STREAM_…` when `sink` is closed before all is written
   */
  async send(sink: Writable, { start, end }: ByteRange, signal?: AbortSignal): Promise<void> {
    let writing: Promise<number> | undefined;
    let size = 1;
    const broken = whenClosed(sink);
    try {
      for (let position = start; position <= end; ) {
        signal?.throwIfAborted();
        const chunk = takeChunk(size);
        const length = Math.min(chunk.buffer.length, end - position + 1);
        const bytesRead = await readAt(this.#fd, chunk.buffer, { length, position });
        position += bytesRead;
        const taken = await writing;
        if (taken !== undefined)
          size = taken < FAST ? Math.min(size + 1, SIZES.length - 1) : taken > SLOW ? 0 : size;
        writing = Promise.race([broken.promise, write(sink, chunk, bytesRead)]);
        // Heard of when it is awaited, one chunk later.
        writing.catch(() => undefined);
      }
      await writing;
    } finally {
      broken.stop();
    }
  }
}

interface Chunk {
  readonly buffer: Buffer;
  /** Index of its size. */
  readonly size: number;
}

function takeChunk(size: number): Chunk {
  const buffer = spare[size]?.pop() ?? Buffer.allocUnsafeSlow(SIZES[size] ?? SIZES[0]);
  return { buffer, size };
}

function keepChunk({ buffer, size }: Chunk): void {
  const kept = spare[size];
  if (kept !== undefined && kept.length * buffer.length < KEPT) kept.push(buffer);
}

/** Reading failed, not writing. */
export class FileReadError extends Error {}

async function readAt(
  fd: number,
  buffer: Buffer,
  { length, position }: { readonly length: number; readonly position: number },
): Promise<number> {
  try {
    const { bytesRead } = await readFile(fd, buffer, 0, length, position);
    if (bytesRead > 0) return bytesRead;
  } catch (error) {
    throw new FileReadError(error instanceof Error ? error.message : String(error), { cause: error });
  }
  throw new FileReadError(`the file ends after ${position} bytes, and was longer when it was opened`);
}

/**
 * Resolves when the bytes have left, to the milliseconds that it took. The buffer is for others then; one of a write that
 * failed is not.
 */
function write(sink: Writable, chunk: Chunk, length: number): Promise<number> {
  const started = performance.now();
  const { buffer } = chunk;
  return new Promise((resolve, reject) => {
    sink.write(length === buffer.length ? buffer : buffer.subarray(0, length), (error) => {
      if (error) {
        reject(error);
        return;
      }
      keepChunk(chunk);
      resolve(performance.now() - started);
    });
  });
}

/** Rejects when the other end is gone: writes that wait for it may never be told. */
function whenClosed(sink: Writable): { readonly promise: Promise<never>; stop(): void } {
  let onClose = (): void => undefined;
  const promise = new Promise<never>((_, reject) => {
    onClose = () => {
      const error = new Error('the client went away');
      reject(Object.assign(error, { code: 'ERR_STREAM_PREMATURE_CLOSE' }));
    };
    if (sink.destroyed) onClose();
    else sink.once('close', onClose);
  });
  promise.catch(() => undefined);
  return { promise, stop: () => void sink.off('close', onClose) };
}
