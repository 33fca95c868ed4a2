import { chmodSync, lstatSync, renameSync } from 'node:fs';

/** Renames; a directory that is not ours as root must be writable for that. */
export function moveTree(from: string, to: string): void {
  const status = lstatSync(from);
  const unlock = process.geteuid?.() !== 0 && status.isDirectory() && (status.mode & 0o200) === 0;
  if (unlock) chmodSync(from, (status.mode & 0o7777) | 0o200);
  renameSync(from, to);
  if (unlock) chmodSync(to, status.mode & 0o7777);
}
