import { closeSync } from 'node:fs';
import { openLockFile, tryLock } from '../local-store/file-lock.js';

/** The lock of whoever works a queue off: one process at a time. */
export class WorkerLock {
  readonly #fd: number;

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /** Takes it, or gives `undefined` while another process works. */
  static tryTake(queueFile: string): WorkerLock | undefined {
    const fd = openLockFile(`${queueFile}.worker`);
    if (tryLock(fd, 'exclusive')) return new WorkerLock(fd);
    closeSync(fd);
    return undefined;
  }

  release(): void {
    closeSync(this.#fd);
  }
}
