import { chooseGeneration } from '../activate/generations.js';
import type { MachineRoot } from '../activate/machine-root.js';
import { type Generation, systemProfile } from '../activate/profile.js';
import { withProfileLock } from '../activate/profile-lock.js';

export interface RollbackOptions {
  readonly profileName?: string;
  readonly bootMenu?: 'auto' | 'always' | 'never';
  /** The generation to go to; the one before the current one without it. */
  readonly to?: number;
  readonly onWait?: (path: string) => void;
}

/** The generation a rollback would go to. */
export async function findRollback(
  root: MachineRoot,
  { profileName, to }: RollbackOptions,
): Promise<Generation> {
  const profile = systemProfile(root, profileName);
  return to === undefined ? profile.previous() : profile.get(to);
}

/**
 * Makes an earlier (or any other) generation the current one and the boot default. Its whole closure is in the
 * store, kept by the generation's link: nothing is fetched or copied.
 */
export async function rollBack(root: MachineRoot, options: RollbackOptions): Promise<Generation> {
  const profile = systemProfile(root, options.profileName);
  return withProfileLock(root, profile, options, async () => {
    const generation = await findRollback(root, options);
    await chooseGeneration(root, { profile, generation }, options);
    return generation;
  });
}
