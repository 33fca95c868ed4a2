import { userInfo } from 'node:os';
import { readLink } from '../activate/durable.js';
import type { MachineRoot } from '../activate/machine-root.js';

/**
 * Where a user's profile is: what `~/.nix-profile` points to, or else where Nix puts it, `default` for root and
 * `per-user/<name>/profile` for everybody else.
 * @param stateDir Nix's state directory as the machine sees it
 */
export async function findUserProfile(root: MachineRoot, stateDir: string): Promise<string> {
  const { homedir, uid, username } = userInfo();
  const link = root.isMachine ? await readLink(`${homedir}/.nix-profile`) : undefined;
  if (link?.startsWith('/')) return link;
  return uid === 0 ? `${stateDir}/profiles/default` : `${stateDir}/profiles/per-user/${username}/profile`;
}
