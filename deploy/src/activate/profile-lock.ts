import { dirname } from 'node:path';
import { type LockOptions, lockPath } from '@larder/substituter/local-store/file-lock';
import { makeDirectory } from './durable.js';
import type { MachineRoot } from './machine-root.js';
import type { Profile } from './profile.js';

/**
 * Does something while no other process, Nix's programs included, changes the profile: `<profile>.lock`, in
 * Nix's protocol. The lock is the open file's, so it goes with a process that is killed.
 */
export async function withProfileLock<Result>(
  root: MachineRoot,
  profile: Profile,
  options: LockOptions,
  action: () => Promise<Result>,
): Promise<Result> {
  const path = root.physical(profile.path);
  await makeDirectory(dirname(path));
  const lock = await lockPath(path, options);
  try {
    return await action();
  } finally {
    lock.release();
  }
}
