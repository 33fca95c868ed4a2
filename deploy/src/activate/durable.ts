import { randomBytes } from 'node:crypto';
import {
  closeSync,
  fchmodSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname } from 'node:path';

/*
 * Changes of one name that survive a power failure whole: either the old state is there or the new one. The new
 * state is made under another name, flushed, moved into place by one rename, and the directory is flushed, so that
 * what is done later cannot reach the disk before it. What is so already may have been made by a run that was killed
 * before its flush: that is made up for.
 *
 * All of it is synchronous inside: each step waits for the one before, nobody waits for anything else meanwhile, and
 * every way through the thread pool costs a small rollback more than the step itself.
 */

/** Writes a file, or replaces it; one that is so already is left alone. `mode` is the file's own, whatever the umask. */
export async function replaceFile(path: string, contents: string, mode = 0o644): Promise<void> {
  if (isFileWith(path, contents, mode)) return syncDirectory(dirname(path));
  const temporary = temporaryName(path);
  try {
    const file = openSync(temporary, 'wx', mode);
    try {
      writeFileSync(file, contents);
      fchmodSync(file, mode);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
  await syncDirectory(dirname(path));
}

function isFileWith(path: string, contents: string, mode: number): boolean {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats?.isFile() !== true || (stats.mode & 0o7777) !== mode) return false;
  return stats.size === Buffer.byteLength(contents) && readFileSync(path, 'utf8') === contents;
}

/** Makes a symbolic link, or points it elsewhere. */
export async function replaceLink(path: string, target: string): Promise<void> {
  if ((await readLink(path)) === target) return syncDirectory(dirname(path));
  const temporary = temporaryName(path);
  try {
    symlinkSync(target, temporary);
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
  await syncDirectory(dirname(path));
}

/** A symbolic link's target; `undefined` when there is none. */
export async function readLink(path: string): Promise<string | undefined> {
  try {
    return readlinkSync(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'EINVAL' || code === 'ENOTDIR') return undefined;
    throw error;
  }
}

/** Makes a directory with all above it. */
export async function makeDirectory(path: string): Promise<void> {
  const first = mkdirSync(path, { recursive: true });
  if (first !== undefined) await syncDirectory(dirname(first));
}

/** Flushes a directory: which names it has. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = openSync(path, 'r');
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}

/** Whether a name is one that a change in progress, or one that was cut off, has made. */
export function isTemporaryName(name: string): boolean {
  return /^\.larder-tmp-[0-9a-f]{12}-/.test(name);
}

function temporaryName(path: string): string {
  return `${dirname(path)}/.larder-tmp-${randomBytes(6).toString('hex')}-${basename(path)}`;
}
