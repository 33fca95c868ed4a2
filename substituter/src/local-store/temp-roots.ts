import { closeSync, existsSync, fstatSync, mkdirSync, unlinkSync, writeSync } from 'node:fs';
import { createConnection, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { LarderError } from '@larder/signing/errors';
import type { StorePath } from '@larder/signing/store-path';
import { openLockFile, tryLock, unlock, waitForLock } from './file-lock.js';
import type { StoreLayout } from './layout.js';
import { shortSocketPath } from './socket-path.js';

/**
 * The paths that this process is using, told to every garbage collector of the store in Nix's protocol:
 * `temproots/<pid>` holds their full paths, NUL-terminated, and is locked while the process lives. A
 * collector that is already running has read the file, so it is told through its socket instead.
 */
export class TempRoots {
  readonly #layout: StoreLayout;
  readonly #path: string;
  readonly #rooted = new Set<StorePath>();
  #users = 0;
  #fd: number | undefined;
  #gcLock: number | undefined;
  #queue: Promise<void> = Promise.resolve();

  private constructor(layout: StoreLayout) {
    this.#layout = layout;
    this.#path = `${layout.stateDir}/temproots/${process.pid}`;
  }

  /** One file a process and store, so that stores opened twice do not unlink each other's roots. */
  static readonly #open = new Map<string, TempRoots>();

  static open(layout: StoreLayout): TempRoots {
    let roots = TempRoots.#open.get(layout.stateDir);
    if (roots === undefined) {
      roots = new TempRoots(layout);
      TempRoots.#open.set(layout.stateDir, roots);
    }
    roots.#users++;
    return roots;
  }

  /** Keeps these paths, valid or yet to come, from every collector until this process closes the store. */
  async add(paths: Iterable<StorePath>, signal?: AbortSignal): Promise<void> {
    const fresh = [...paths].filter((path) => !this.#rooted.has(path));
    if (fresh.length === 0) return this.#queue;
    const done = this.#queue.then(() => this.#write(fresh, signal));
    this.#queue = done.catch(() => {});
    return done;
  }

  close(): void {
    if (--this.#users > 0) return;
    TempRoots.#open.delete(this.#layout.stateDir);
    if (this.#gcLock !== undefined) closeSync(this.#gcLock);
    if (this.#fd === undefined) return;
    unlinkSync(this.#path);
    closeSync(this.#fd);
    this.#fd = undefined;
  }

  async #write(paths: readonly StorePath[], signal: AbortSignal | undefined): Promise<void> {
    this.#fd ??= await this.#create(signal);
    this.#gcLock ??= openLockFile(`${this.#layout.stateDir}/gc.lock`);
    const fd = this.#fd;
    const gcLock = this.#gcLock;
    const text = paths.map((path) => this.#layout.storeDir.format(path));
    for (;;) {
      // While we hold the lock shared no collector can start, so what is in the file will be seen.
      if (tryLock(gcLock, 'shared')) {
        try {
          this.#append(fd, text);
        } finally {
          unlock(gcLock);
        }
        break;
      }
      if (await this.#tellCollector(text, signal)) {
        this.#append(fd, text);
        break;
      }
      await sleep(10, undefined, { signal }); // The collector was just ending (or not yet listening).
    }
    for (const path of paths) this.#rooted.add(path);
  }

  #append(fd: number, text: readonly string[]): void {
    writeSync(fd, text.map((path) => `${path}\0`).join(''));
  }

  async #create(signal: AbortSignal | undefined): Promise<number> {
    mkdirSync(`${this.#layout.stateDir}/temproots`, { recursive: true });
    for (;;) {
      // A file with our own process id was left by a process that is no more.
      if (existsSync(this.#path)) unlinkSync(this.#path);
      const fd = openLockFile(this.#path);
      await waitForLock(fd, 'exclusive', this.#path, { signal });
      if (fstatSync(fd).size === 0) return fd;
      closeSync(fd); // A collector took it for stale before we had the lock.
    }
  }

  /** Sends the paths to the running collector; false when none answers any more. */
  async #tellCollector(paths: readonly string[], signal: AbortSignal | undefined): Promise<boolean> {
    const path = `${this.#layout.stateDir}/gc-socket/socket`;
    if (!existsSync(path)) return false;
    using address = shortSocketPath(path);
    const socket = createConnection(address.path);
    try {
      await exchangeRoots(socket, paths, signal);
      return true;
    } catch (error) {
      signal?.throwIfAborted();
      if (hasErrno(error, ['ECONNREFUSED', 'ENOENT', 'EPIPE', 'ECONNRESET'])) return false;
      throw new LarderError(
        'gc-unreachable',
        `The garbage collector of ${this.#layout.stateDir} is running and cannot be told which paths are in use.`,
        { cause: error },
      );
    } finally {
      socket.destroy();
    }
  }
}

/** Writes one path a line and waits for as many `1` bytes: the collector has spared each by then. */
function exchangeRoots(
  socket: Socket,
  paths: readonly string[],
  signal: AbortSignal | undefined,
): Promise<void> {
  return new Promise((resolve, reject) => {
    let acknowledged = 0;
    const abort = () => reject(signal!.reason as Error);
    signal?.addEventListener('abort', abort, { once: true });
    socket.on('error', reject);
    socket.on('close', () => reject(Object.assign(new Error('closed'), { code: 'ECONNRESET' })));
    socket.on('data', (chunk: Buffer) => {
      acknowledged += chunk.length;
      if (acknowledged < paths.length) return;
      signal?.removeEventListener('abort', abort);
      resolve();
    });
    socket.write(paths.map((path) => `${path}\n`).join(''));
  });
}

function hasErrno(error: unknown, codes: readonly string[]): boolean {
  return codes.includes((error as NodeJS.ErrnoException).code ?? '');
}
