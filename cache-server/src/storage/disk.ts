import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, opendir, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { ServerError } from '../errors.js';
import { checkKey, STAGING_PREFIX } from './object-key.js';
import { FileReadError, OpenFile } from './open-file.js';
import type {
  ByteRange,
  GetOptions,
  ObjectInfo,
  ObjectStorage,
  PutOptions,
  StagedObject,
  StageOptions,
  StoredObject,
} from './storage.js';

/** Large reads keep a busy connection off the event loop; small objects take one read of their own size. */
const READ_SIZE = 512 * 1024;

/**
 * Objects as files under one directory.
 *
 * Crash invariants: bytes are written to `.staging/<uuid>` and fsynced before the rename that names them, and the
 * directory is fsynced after it. So a key names whole bytes or nothing, and a write that resolved survives a power cut;
 * a crash leaves at most a file in `.staging`, which `sweep` removes.
 */
export class DiskStorage implements ObjectStorage {
  readonly engine = 'disk';
  readonly #root: string;

  private constructor(root: string) {
    this.#root = root;
  }

  /** Opens the storage, making its directory if need be. */
  static async open(root: string): Promise<DiskStorage> {
    await mkdir(join(root, STAGING_PREFIX), { recursive: true });
    return new DiskStorage(root);
  }

  async put(key: string, bytes: Uint8Array, options: PutOptions = {}): Promise<void> {
    await using staged = await this.stage(once(bytes), options);
    await staged.publish(key);
  }

  async stage(source: AsyncIterable<Uint8Array>, options: StageOptions = {}): Promise<StagedObject> {
    const temporary = join(this.#root, STAGING_PREFIX, randomUUID());
    try {
      const size = await writeDurably(temporary, source, options.signal);
      return this.#staged(temporary, size);
    } catch (error) {
      await rm(temporary, { force: true });
      throw wrapIfOurs(error, 'cannot write an upload to disk');
    }
  }

  #staged(temporary: string, size: number): StagedObject {
    let published = false;
    return {
      size,
      publish: async (key) => {
        const path = this.#path(key);
        await this.#rename(temporary, path).catch((error: unknown) => {
          throw failed(`cannot write ${key}`, error);
        });
        published = true;
      },
      [Symbol.asyncDispose]: async () => {
        if (!published) await rm(temporary, { force: true });
      },
    };
  }

  async #rename(from: string, to: string): Promise<void> {
    const directory = dirname(to);
    const made = await mkdir(directory, { recursive: true });
    await rename(from, to);
    await syncDirectory(directory);
    // A directory is itself a name in its parent, up to the first one that was there before.
    for (let at = directory; made !== undefined && at.length >= made.length; at = dirname(at))
      await syncDirectory(dirname(at));
  }

  async get(key: string, { range, signal }: GetOptions = {}): Promise<StoredObject | undefined> {
    const file = await openIfPresent(this.#path(key));
    return file === undefined ? undefined : storedFile(file, { key, range, signal });
  }

  async head(key: string): Promise<ObjectInfo | undefined> {
    const path = this.#path(key);
    try {
      const { size, mtime } = await stat(path);
      return { key, size, modified: mtime };
    } catch (error) {
      if (isAbsence(error)) return undefined;
      throw failed(`cannot look at ${key}`, error);
    }
  }

  async delete(keys: readonly string[]): Promise<void> {
    const directories = new Set<string>();
    for (const key of keys) {
      const path = this.#path(key);
      await rm(path, { force: true }).catch((error: unknown) => {
        throw failed(`cannot delete ${key}`, error);
      });
      directories.add(dirname(path));
    }
    for (const directory of directories)
      await syncDirectory(directory).catch((error: unknown) => {
        if (!isAbsence(error)) throw failed(`cannot delete in ${directory}`, error);
      });
  }

  async *list(prefix: string): AsyncIterable<ObjectInfo> {
    const slash = prefix.lastIndexOf('/');
    const base = slash < 0 ? '' : prefix.slice(0, slash);
    for await (const key of this.#walk(base)) {
      if (!key.startsWith(prefix)) continue;
      const info = await this.head(key);
      if (info !== undefined) yield info;
    }
  }

  /** Keys below `base`, in the order S3 lists them: a directory sorts as its name with the slash. */
  async *#walk(base: string): AsyncIterable<string> {
    const entries = await readdir(join(this.#root, base), { withFileTypes: true }).catch((error: unknown) => {
      if (isAbsence(error)) return [];
      throw failed(`cannot list ${base}`, error);
    });
    const names = entries
      .filter((entry) => !entry.name.startsWith('.'))
      .map((entry) => (entry.isDirectory() ? `${entry.name}/` : entry.name))
      .sort();
    for (const name of names) {
      const key = base === '' ? name : `${base}/${name}`;
      if (name.endsWith('/')) yield* this.#walk(key.slice(0, -1));
      else yield key;
    }
  }

  async listCaches(): Promise<readonly string[]> {
    const entries = await readdir(this.#root, { withFileTypes: true });
    return entries
      .filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'))
      .map((entry) => entry.name)
      .sort();
  }

  async sweep(before: Date): Promise<number> {
    let removed = 0;
    const staging = join(this.#root, STAGING_PREFIX);
    for await (const entry of await opendir(staging)) {
      const path = join(staging, entry.name);
      const info = await stat(path).catch(() => undefined);
      if (info === undefined || info.mtime >= before) continue;
      await rm(path, { force: true });
      removed++;
    }
    return removed;
  }

  async check(): Promise<void> {
    const probe = join(this.#root, STAGING_PREFIX, `check-${randomUUID()}`);
    try {
      await (await open(probe, 'wx')).close();
      await rm(probe);
    } catch (error) {
      throw failed(`cannot write in ${this.#root}`, error);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  #path(key: string): string {
    return join(this.#root, checkKey(key));
  }
}

async function writeDurably(
  path: string,
  source: AsyncIterable<Uint8Array>,
  signal?: AbortSignal,
): Promise<number> {
  const handle = await open(path, 'wx', 0o644);
  try {
    let size = 0;
    for await (const chunk of source) {
      signal?.throwIfAborted();
      for (let at = 0; at < chunk.length; )
        at += (await handle.write(chunk, at, chunk.length - at)).bytesWritten;
      size += chunk.length;
    }
    await handle.sync();
    return size;
  } finally {
    await handle.close();
  }
}

interface FileOptions {
  readonly key: string;
  readonly range: ByteRange | undefined;
  readonly signal: AbortSignal | undefined;
}

function storedFile(file: OpenFile, { key, range, signal }: FileOptions): StoredObject {
  const { size } = file;
  const { start, end } = range ?? { start: 0, end: size - 1 };
  let stream: Readable | undefined;
  const openStream = (): Readable => {
    if (size === 0) return Readable.from([]);
    const highWaterMark = Math.min(READ_SIZE, Math.max(1, end - start + 1));
    // It closes the file by itself when it ends; when it is cut short, destroying it does.
    return createReadStream('', {
      ...{ fd: file.handOver(), start, end, highWaterMark },
      ...(signal === undefined ? {} : { signal }),
    });
  };
  return {
    size,
    get body() {
      stream ??= openStream();
      return stream;
    },
    async sendTo(sink) {
      await file.send(sink, { start, end }, signal).catch((error: unknown) => {
        throw error instanceof FileReadError ? failed(`cannot read ${key}`, error) : error;
      });
      file.close();
    },
    async [Symbol.asyncDispose]() {
      stream?.destroy();
      file.close();
    },
  };
}

async function openIfPresent(path: string): Promise<OpenFile | undefined> {
  try {
    return await OpenFile.open(path);
  } catch (error) {
    if (isAbsence(error)) return undefined;
    throw failed(`cannot read ${path}`, error);
  }
}

async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function* once(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  if (bytes.length > 0) yield bytes;
}

function errnoOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && 'syscall' in error ? String(error.code) : undefined;
}

/** ENOTDIR: a component of the key is an object itself, so nothing can be below it. */
function isAbsence(error: unknown): boolean {
  const errno = errnoOf(error);
  return errno === 'ENOENT' || errno === 'ENOTDIR';
}

/** The file system's errors are the storage's; those of the source (a hash that differs, say) pass through. */
function wrapIfOurs(error: unknown, message: string): unknown {
  const errno = errnoOf(error);
  return errno === undefined || errno.startsWith('ECONN') ? error : failed(message, error);
}

function failed(message: string, cause: unknown): ServerError {
  const detail = cause instanceof Error ? cause.message : String(cause);
  return new ServerError('storage-failed', `${message}: ${detail}`, { cause });
}
