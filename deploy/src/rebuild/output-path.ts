import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { derivationOutputPath, parseDerivation } from '@larder/signing/derivation';
import { StoreDir } from '@larder/signing/store-path';
import type { MachineRoot } from '../activate/machine-root.js';

/**
 * Where a derivation puts its output `out`; `undefined` where only the build tells (content-addressed), or where the
 * derivation is not in the store.
 */
export async function readOutputPath(root: MachineRoot, derivation: string): Promise<string | undefined> {
  const storeDir = new StoreDir(dirname(derivation));
  const text = await readIfThere(root.physical(derivation));
  if (text === undefined) return undefined;
  const path = derivationOutputPath(
    parseDerivation(text, storeDir.parse(derivation), storeDir),
    'out',
    storeDir,
  );
  return path === undefined ? undefined : storeDir.format(path);
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
