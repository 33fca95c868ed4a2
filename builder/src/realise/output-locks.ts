import { type PathLock, tryPathLock } from '@larder/substituter/local-store/file-lock';

/** Takes the locks of all these files, or none: then another process builds the same. Nix takes the same ones. */
export function tryOutputLocks(files: readonly string[]): PathLock[] | undefined {
  const held: PathLock[] = [];
  // In one order, so that two builds never hold half of the locks each.
  for (const file of [...files].sort()) {
    const lock = tryPathLock(file);
    if (lock === undefined) {
      for (const each of held) each.release();
      return undefined;
    }
    held.push(lock);
  }
  return held;
}
