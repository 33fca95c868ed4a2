import { closeSync, fstatSync, openSync, unlinkSync, writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { setTimeout as sleep } from 'node:timers/promises';
import { LarderError } from '@larder/signing/errors';

// CommonJS, required as such: imported, it would be analysed for its exports first, which takes longer than to load it.
const { flockSync } = createRequire(import.meta.url)('fs-ext') as typeof import('fs-ext');

/** How often a lock that somebody else holds is tried again, in milliseconds: soon at first, then seldom. */
const firstPoll = 5;
const slowestPoll = 250;

export interface LockOptions {
  /** Called once if the lock is held by another process, before waiting for it. */
  readonly onWait?: (path: string) => void;
  readonly signal?: AbortSignal;
}

/** Tries a lock on an open file, without waiting. `flock(2)`, as Nix uses: it belongs to the open file. */
export function tryLock(fd: number, mode: 'shared' | 'exclusive'): boolean {
  for (;;) {
    try {
      flockSync(fd, mode === 'shared' ? 'shnb' : 'exnb');
      return true;
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code === 'EAGAIN' || code === 'EWOULDBLOCK') return false;
      if (code !== 'EINTR') throw error;
    }
  }
}

export function unlock(fd: number): void {
  flockSync(fd, 'un');
}

/**
 * Waits for a lock. It polls instead of blocking, so that many waits neither fill the thread pool nor
 * outlive `signal`.
 */
export async function waitForLock(
  fd: number,
  mode: 'shared' | 'exclusive',
  path: string,
  { onWait, signal }: LockOptions = {},
): Promise<void> {
  for (let poll = firstPoll, waited = false; !tryLock(fd, mode); poll = Math.min(poll * 2, slowestPoll)) {
    if (!waited) onWait?.(path);
    waited = true;
    await sleep(poll, undefined, { signal });
  }
}

/** A path lock that is held: `<path>.lock`, in Nix's protocol. */
export interface PathLock {
  readonly path: string;
  /** Gives the lock up and removes its file. */
  release(): void;
}

/**
 * Takes the exclusive lock of a store path, or gives `undefined` when another process has it. A holder
 * that is done unlinks the lock file and writes a byte to it: whoever waited on the unlinked file sees that
 * it is stale, and starts over with the file that now has the name.
 */
export function tryPathLock(path: string): PathLock | undefined {
  const lockPath = `${path}.lock`;
  for (;;) {
    const fd = openLockFile(lockPath);
    let locked = false;
    try {
      if (!tryLock(fd, 'exclusive')) return undefined;
      locked = fstatSync(fd).size === 0;
    } finally {
      if (!locked) closeSync(fd);
    }
    if (locked) return { path, release: () => releasePathLock(lockPath, fd) };
  }
}

/** Takes the exclusive lock of a store path, waiting for it as long as need be. */
export async function lockPath(path: string, options: LockOptions = {}): Promise<PathLock> {
  for (let poll = firstPoll, waited = false; ; poll = Math.min(poll * 2, slowestPoll)) {
    const lock = tryPathLock(path);
    if (lock !== undefined) return lock;
    if (!waited) options.onWait?.(path);
    waited = true;
    await sleep(poll, undefined, { signal: options.signal });
  }
}

function releasePathLock(lockPath: string, fd: number): void {
  try {
    unlinkSync(lockPath);
  } catch {
    // Removing the file only tidies up: the lock itself ends with the descriptor.
  }
  writeSync(fd, 'd');
  closeSync(fd);
}

/** Opens a lock file, making it if need be. Throws `store-unwritable`. */
export function openLockFile(path: string): number {
  try {
    return openSync(path, 'a+', 0o600);
  } catch (error) {
    throw new LarderError(
      'store-unwritable',
      `Cannot open the lock file ${path}: run as the store's owner, or use another store (--to local?root=DIR).`,
      { cause: error },
    );
  }
}
