import { execFile } from 'node:child_process';
import { closeSync, constants, lstatSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { promisify } from 'node:util';

/** Both ends of a pipe. */
export interface LogPipe {
  readonly readEnd: number;
  readonly writeEnd: number;
  /** Gives the name back once nobody writes any more. The read end is the reader's to close. */
  release(): void;
}

/**
 * Pipes for builders to write their logs to. Node gives children sockets, which cannot be opened by name, and
 * builders do `> /dev/stderr`; so these are named pipes, in a directory of our own, used again and again.
 */
export class FifoPool {
  readonly #directory: string;
  readonly #free: string[] = [];
  #made = 0;
  #making: Promise<void> | undefined;

  /** Makes the pool's own directory in `parent`. */
  constructor(parent: string) {
    this.#directory = mkdtempSync(`${parent}/larder-build-`);
  }

  /** A directory that only we can enter, for other files of the same builds. */
  get directory(): string {
    return this.#directory;
  }

  async take(): Promise<LogPipe> {
    while (this.#free.length === 0) {
      this.#making ??= this.#makeMore().finally(() => {
        this.#making = undefined;
      });
      await this.#making;
    }
    const path = this.#free.pop()!;
    // Opened for reading first and without waiting: neither end has to wait for the other.
    const readEnd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const writeEnd = openSync(path, constants.O_WRONLY);
    return { readEnd, writeEnd, release: () => this.#free.push(path) };
  }

  close(): void {
    rmSync(this.#directory, { recursive: true, force: true });
    // Node's realpathSync, its module loader's too, stops at a FIFO, and takes for one whatever the last synchronous
    // stat was of: modules loaded after a build came from unresolved paths, and were there twice.
    lstatSync('/');
  }

  /** Several at once: making them takes a process. */
  async #makeMore(): Promise<void> {
    const names = Array.from({ length: 8 }, () => `${this.#directory}/log-${this.#made++}`);
    // Whoever has the pipe as its output may also open it by name (/dev/stderr), whatever user it runs as.
    await promisify(execFile)('mkfifo', ['-m', '0622', ...names]);
    this.#free.push(...names);
  }
}

export function closeQuietly(fd: number): void {
  try {
    closeSync(fd);
  } catch {
    // Closed already.
  }
}
