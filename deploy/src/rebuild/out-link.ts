import { resolve } from 'node:path';
import { computeHash } from '@larder/signing/hash';
import { makeDirectory, replaceLink } from '../activate/durable.js';
import type { MachineRoot } from '../activate/machine-root.js';

/**
 * Links a store path from outside the store, and makes the link a root of the garbage collector: indirect, as
 * Nix's own `result` links, so removing the link is enough to let go.
 */
export async function makeOutLink(root: MachineRoot, link: string, storePath: string): Promise<void> {
  const path = resolve(link);
  await replaceLink(path, root.physical(storePath));
  // A store below a root has no say over links outside: its collector could not see them as its own paths.
  if (!root.isMachine) return;
  const roots = '/nix/var/nix/gcroots/auto';
  await makeDirectory(roots);
  await replaceLink(`${roots}/${computeHash('sha1', path).format('nix32', { prefix: false })}`, path);
}
