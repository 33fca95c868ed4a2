import { toByteText } from './byte-text.js';
import { NixError } from './errors.js';
import {
  describeChanges,
  findUnlocked,
  formatLockFile,
  type LockFile,
  readLockFile,
} from './flake-lock-file.js';
import type { FlakeLocking } from './flake-locking.js';
import { type FlakeRef, formatFlakeRef } from './flake-ref.js';
import { type FetchedFlake, fetchFlake } from './local-flake.js';
import { machine } from './machine.js';

/** Where a flake can be written to: a directory, or a git work tree without any revision named. */
function workPlace(ref: FlakeRef): { directory: string; repository: string | undefined } | undefined {
  const inside = ref['dir'] === undefined ? '' : `/${String(ref['dir'])}`;
  if (ref['type'] === 'path' && ref['narHash'] === undefined)
    return { directory: toByteText(`${String(ref['path'])}${inside}`), repository: undefined };
  const repository = /^file:\/\/(\/[^?]*)/.exec(String(ref['url']))?.[1];
  if (ref['type'] !== 'git' || repository === undefined) return undefined;
  if (ref['rev'] !== undefined || ref['ref'] !== undefined) return undefined;
  return { directory: toByteText(`${repository}${inside}`), repository: toByteText(repository) };
}

/**
 * Has a flake's lock file say what was found, as the setting for the outermost flake wants it: written, refused, or left
 * alone with a warning. Gives the flake as it is then.
 */
export function settleLock(
  flake: FetchedFlake,
  lock: LockFile,
  { mode, commit }: FlakeLocking,
): FetchedFlake {
  const { host } = machine;
  const known = readLockFile(flake.directory);
  const text = formatLockFile(lock);
  if (text === formatLockFile(known ?? { nodes: {}, root: 'root' })) return flake;
  const name = toByteText(formatFlakeRef(flake.ref));
  const changes = describeChanges(known, lock);
  if (mode === 'keep') {
    host.log(`warning: not writing modified lock file of flake '${name}':${changes}`);
    return flake;
  }
  const place = workPlace(flake.ref);
  if (place === undefined) {
    throw new NixError(
      'other',
      `cannot write modified lock file of flake '${name}' (use '--no-write-lock-file' to ignore)`,
    );
  }
  const unlocked = findUnlocked(lock);
  if (unlocked !== undefined) {
    const input = toByteText(formatFlakeRef(unlocked));
    host.log(
      `warning: will not write lock file of flake '${name}' because it has an unlocked input ('${input}')`,
    );
    return flake;
  }
  if (mode === 'refuse') {
    throw new NixError(
      'other',
      `flake '${name}' requires lock file changes but they're not allowed due to '--no-update-lock-file'`,
    );
  }
  host.writeFlakeLock({
    ...place,
    text: toByteText(text),
    changes: known === undefined ? undefined : changes,
    commitMessage:
      commit === true
        ? `${commitSummary(flake, known)}\n\nFlake lock file updates:\n${changes}\n`
        : undefined,
  });
  return fetchFlake(flake.ref);
}

/** The first line of the commit of a lock file (bytes). */
function commitSummary({ ref }: FetchedFlake, known: LockFile | undefined): string {
  const { commitLockFileSummary = '' } = machine.settings;
  if (commitLockFileSummary !== '') return toByteText(commitLockFileSummary);
  const inside = ref['dir'] === undefined ? '' : `${toByteText(String(ref['dir']))}/`;
  return `${inside}flake.lock: ${known === undefined ? 'Add' : 'Update'}`;
}
