import { lstatSync, readdirSync, readlinkSync } from 'node:fs';
import { LarderError } from '@larder/signing/errors';
import { isWritable } from '@larder/substituter/local-store/layout';
import { MachineRoot } from '../activate/machine-root.js';
import { type Generation, Profile } from '../activate/profile.js';
import { withProfileLock } from '../activate/profile-lock.js';

export interface RemoveOldOptions {
  /** Nix's state directory on this machine. */
  readonly stateDir: string;
  /** Generations that were not current any more by then go; without it all but the current ones. */
  readonly before?: Date;
  readonly dryRun?: boolean;
  /** Told of each profile before its generations are looked at. */
  readonly onProfile?: (profile: string) => void;
  readonly onRemove: (profile: string, generation: number) => void;
  readonly signal?: AbortSignal;
}

/**
 * Removes old generations of all profiles of a store that are ours to change, as `nix-collect-garbage` does. The current one
 * stays whatever its age, and so does the one that was current at the given time. Reference: `removeOldGenerations`.
 */
export async function removeOldGenerations(options: RemoveOldOptions): Promise<void> {
  const root = new MachineRoot('/');
  for (const path of findProfiles(`${options.stateDir}/profiles`)) {
    options.onProfile?.(path);
    const profile = new Profile(path, root);
    await withProfileLock(root, profile, { signal: options.signal }, async () => {
      const current = await profile.currentNumber();
      const old = selectOld(await profile.list(), options.before).filter(({ number }) => number !== current);
      for (const { number } of old) options.onRemove(path, number);
      if (options.dryRun !== true) await profile.remove(old);
    });
  }
}

/** The newest that is older than `before` was current then: only those before it go, in the order in which Nix has them go. */
function selectOld(generations: readonly Generation[], before: Date | undefined): readonly Generation[] {
  if (before === undefined) return generations;
  const older = generations.filter(({ date }) => date < before);
  return older.slice(0, -1).reverse();
}

/** Links to generations, those whose target's name says `link`, in directories that are ours to change. */
function findProfiles(directory: string): string[] {
  const found: string[] = [];
  let names: string[];
  try {
    names = readdirSync(directory);
  } catch {
    return []; // Not there, or not for us to read.
  }
  // What is below a directory may be ours even where it is not, such as a user's own profiles.
  const writable = isWritable(directory);
  for (const name of names) {
    const path = `${directory}/${name}`;
    const status = lstatSync(path, { throwIfNoEntry: false });
    if (status?.isDirectory()) found.push(...findProfiles(path));
    else if (writable && status?.isSymbolicLink() && readlinkSync(path).includes('link')) found.push(path);
  }
  return found;
}

/** Reads `30d`. @throws `usage` */
export function parseAge(text: string, now: Date = new Date()): Date {
  const days = /^([1-9]\d{0,5})d$/.exec(text)?.[1];
  if (days === undefined) throw new LarderError('usage', `'${text}' is not a number of days such as 14d`);
  return new Date(now.getTime() - Number(days) * 24 * 3600 * 1000);
}
