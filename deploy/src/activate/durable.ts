import { randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, lstatSync, openSync, readFileSync } from 'node:fs';
import { mkdir, open, readlink, rename, rm, symlink } from 'node:fs/promises';
import { basename, dirname } from 'node:path';

/*
 * Changes of one name that survive a power failure whole: either the old state is there or the new one. The new
 * state is made under another name, flushed, moved into place by one rename, and the directory is flushed, so that
 * what is done later cannot reach the disk before it. What is so already may have been made by a run that was killed
 * before its flush: that is made up for.
 */

/** Writes a file, or replaces it; one that is so already is left alone. `mode` is the file's own, whatever the umask. */
export async function replaceFile(path: string, contents: string, mode = 0o644): Promise<void> {
  if (isFileWith(path, contents, mode)) return syncDirectory(dirname(path));
  const temporary = temporaryName(path);
  try {
    const file = await open(temporary, 'wx', mode);
    try {
      await file.writeFile(contents);
      await file.chmod(mode);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
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
    await symlink(target, temporary);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await syncDirectory(dirname(path));
}

/** A symbolic link's target; `undefined` when there is none. */
export async function readLink(path: string): Promise<string | undefined> {
  try {
    return await readlink(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'EINVAL' || code === 'ENOTDIR') return undefined;
    throw error;
  }
}

/** Makes a directory with all above it. */
export async function makeDirectory(path: string): Promise<void> {
  const first = await mkdir(path, { recursive: true });
  if (first !== undefined) await syncDirectory(dirname(first));
}

/** Flushes a directory: which names it has. */
export async function syncDirectory(path: string): Promise<void> {
  // Synchronous: it costs next to nothing where nothing changed, and nobody waits for anything else meanwhile.
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
