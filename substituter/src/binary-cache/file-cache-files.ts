import { createReadStream, createWriteStream } from 'node:fs';
import { access, mkdir, open, opendir, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join, normalize } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { LarderError } from '@larder/signing/errors';
import type { ReadOptions } from '../store.js';
import type { CacheFiles, FileContents, WriteOptions } from './cache-files.js';

/** Read and written at a time, in bytes. */
const blockSize = 256 * 1024;

/** A cache in a directory, as `nix copy --to file://DIR` makes it. */
export class FileCacheFiles implements CacheFiles {
  readonly uri: string;
  readonly #directory: string;
  #written = 0;

  constructor(directory: string) {
    this.uri = `file://${directory}`;
    this.#directory = directory;
  }

  async read(name: string): Promise<Uint8Array | undefined> {
    try {
      return await readFile(this.localPath(name));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw this.#failure('read', name, error);
    }
  }

  async *open(name: string, { signal }: ReadOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      yield* createReadStream(this.localPath(name), { highWaterMark: blockSize, signal });
    } catch (error) {
      signal?.throwIfAborted();
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
        throw new LarderError('cache-file-missing', `${this.uri} has no file ${name}`, {
          fields: { cache: this.uri, file: name },
        });
      }
      throw this.#failure('read', name, error);
    }
  }

  async exists(name: string): Promise<boolean> {
    try {
      await access(this.localPath(name));
      return true;
    } catch {
      return false;
    }
  }

  async *list(folder = ''): AsyncGenerator<string, void, undefined> {
    try {
      for await (const entry of await opendir(this.localPath(folder))) {
        const name = join(folder, entry.name);
        if (entry.isFile()) yield name;
        else if (folder !== '' && entry.isDirectory()) yield* this.list(name);
      }
    } catch (error) {
      if (folder !== '' && (error as NodeJS.ErrnoException).code === 'ENOENT') return;
      throw error instanceof LarderError ? error : this.#failure('read', `the directory ${folder}`, error);
    }
  }

  get scratchDirectory(): string {
    return join(this.#directory, 'nar');
  }

  async write(name: string, contents: FileContents, { signal }: WriteOptions): Promise<void> {
    const path = this.localPath(name);
    if (contents.path !== undefined && dirname(contents.path) === dirname(path)) {
      await syncFile(contents.path);
      await rename(contents.path, path);
      return;
    }
    const temporary = `${path}.tmp.${process.pid}.${++this.#written}`;
    try {
      await mkdir(dirname(path), { recursive: true });
      await pipeline(contents.open(), createWriteStream(temporary, { flags: 'wx', flush: true }), { signal });
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true });
      signal?.throwIfAborted();
      throw this.#failure('write', name, error);
    }
  }

  /** @throws `cache-file-missing` for a name that leads out of the cache */
  localPath(name: string): string {
    const path = normalize(name);
    if (path.startsWith('..') || path.startsWith('/')) {
      throw new LarderError(
        'cache-file-missing',
        `${this.uri} names the file ${name}, which is outside of it`,
      );
    }
    return join(this.#directory, path);
  }

  async close(): Promise<void> {}

  #failure(verb: 'read' | 'write', name: string, cause: unknown): LarderError {
    const why = (cause as NodeJS.ErrnoException).code ?? String(cause);
    return new LarderError('cache-unreachable', `cannot ${verb} ${name} in ${this.uri}: ${why}`, { cause });
  }
}

async function syncFile(path: string): Promise<void> {
  const file = await open(path, 'r');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}
