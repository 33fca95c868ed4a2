import { createReadStream } from 'node:fs';
import { mkdir, open, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';

/** An archive that is kept. */
export interface ShelvedNar {
  readonly size: number;
  /** Bytes from `start` to `end`, both included. */
  open(range?: { readonly start: number; readonly end: number }): AsyncIterable<Uint8Array>;
}

/** An archive on its way in, which can be read while it grows, and after it was kept or discarded until `close`. */
export interface IncomingNar {
  write(chunk: Uint8Array): Promise<void>;
  /** Fills the buffer with what stands at a position; gives the number of bytes. */
  read(buffer: Uint8Array, position: number): Promise<number>;
  /** Keeps what was written under its name; what is larger than the whole shelf goes. */
  keep(): Promise<void>;
  discard(): Promise<void>;
  close(): Promise<void>;
}

interface Entry {
  readonly size: number;
  /** Milliseconds since the epoch. */
  used: number;
}

/**
 * Archives kept on disk, the least recently used going when there are more bytes than allowed. Only whole, verified
 * archives have a name here: those under way have a name of their own, and are swept at the start.
 */
export class NarShelf {
  readonly directory: string;
  readonly #maxSize: number;
  readonly #entries = new Map<string, Entry>();
  #size = 0;
  #incoming = 0;

  private constructor(directory: string, maxSize: number) {
    this.directory = directory;
    this.#maxSize = maxSize;
  }

  /** Opens a directory of archives, making it if need be; `maxSize` in bytes. */
  static async open(directory: string, maxSize: number): Promise<NarShelf> {
    await mkdir(directory, { recursive: true });
    const shelf = new NarShelf(directory, maxSize);
    for (const name of await readdir(directory)) {
      const file = join(directory, name);
      if (name.startsWith('.incoming-')) await rm(file, { force: true });
      else {
        const { size, mtimeMs } = await stat(file);
        shelf.#entries.set(name, { size, used: mtimeMs });
        shelf.#size += size;
      }
    }
    await shelf.#makeRoom(0);
    return shelf;
  }

  /** Bytes and archives kept. */
  get contents(): { readonly bytes: number; readonly archives: number } {
    return { bytes: this.#size, archives: this.#entries.size };
  }

  /** A kept archive, now the most recently used one. */
  find(name: string): ShelvedNar | undefined {
    const entry = this.#entries.get(name);
    if (entry === undefined) return undefined;
    entry.used = Date.now();
    const file = join(this.directory, name);
    const now = new Date(entry.used);
    // For the next start; a file that somebody deleted is missed when it is read.
    utimes(file, now, now).catch(() => this.#forget(name));
    return { size: entry.size, open: (range) => createReadStream(file, range) };
  }

  /** Begins an archive. */
  async receive(name: string): Promise<IncomingNar> {
    const file = join(this.directory, `.incoming-${process.pid}-${this.#incoming++}`);
    const handle = await open(file, 'wx+');
    let size = 0;
    return {
      write: async (chunk) => {
        size += chunk.length;
        await handle.writeFile(chunk);
      },
      read: async (buffer, position) => (await handle.read(buffer, 0, buffer.length, position)).bytesRead,
      keep: async () => {
        if (size > this.#maxSize) return rm(file, { force: true });
        await this.#makeRoom(size);
        await rename(file, join(this.directory, name));
        this.#forget(name);
        this.#entries.set(name, { size, used: Date.now() });
        this.#size += size;
      },
      discard: () => rm(file, { force: true }),
      close: () => handle.close(),
    };
  }

  async #makeRoom(coming: number): Promise<void> {
    if (this.#size + coming <= this.#maxSize) return;
    const oldest = [...this.#entries].sort(([, a], [, b]) => a.used - b.used);
    for (const [name] of oldest) {
      if (this.#size + coming <= this.#maxSize) return;
      this.#forget(name);
      await rm(join(this.directory, name), { force: true });
    }
  }

  #forget(name: string): void {
    this.#size -= this.#entries.get(name)?.size ?? 0;
    this.#entries.delete(name);
  }
}
