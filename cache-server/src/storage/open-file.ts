import { closeSync, fstatSync, open, read } from 'node:fs';
import type { Writable } from 'node:stream';
import { promisify } from 'node:util';
import type { ByteRange } from './storage.js';

/** Bytes read and written at a time: beyond it, fewer calls save nothing, and what is read no longer waits in the processor's cache. */
const CHUNK = 512 * 1024;
/** Buffers kept for the next file. */
const KEPT = 64;

const openFile = promisify(open);
const readFile = promisify(read);

const spare: Buffer[] = [];

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
    let writing: Promise<void> | undefined;
    const broken = whenClosed(sink);
    try {
      for (let position = start; position <= end; ) {
        signal?.throwIfAborted();
        const buffer = spare.pop() ?? Buffer.allocUnsafeSlow(CHUNK);
        const length = Math.min(CHUNK, end - position + 1);
        const bytesRead = await readAt(this.#fd, buffer, { length, position });
        position += bytesRead;
        await writing;
        writing = Promise.race([broken.promise, write(sink, buffer, bytesRead)]);
        // Heard of when it is awaited, one chunk later.
        writing.catch(() => undefined);
      }
      await writing;
    } finally {
      broken.stop();
    }
  }
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

/** Resolves when the bytes have left. The buffer is for others then; one of a write that failed is not. */
function write(sink: Writable, buffer: Buffer, length: number): Promise<void> {
  return new Promise((resolve, reject) => {
    sink.write(length === CHUNK ? buffer : buffer.subarray(0, length), (error) => {
      if (error) {
        reject(error);
        return;
      }
      if (spare.length < KEPT) spare.push(buffer);
      resolve();
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
