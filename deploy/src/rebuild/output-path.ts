import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { derivationOutputPath, parseDerivation } from '@larder/signing/derivation';
import { StoreDir } from '@larder/signing/store-path';
import type { MachineRoot } from '../activate/machine-root.js';

/** Where a derivation in the store puts its output `out`; `undefined` where only the build tells (content-addressed). */
export async function readOutputPath(root: MachineRoot, derivation: string): Promise<string | undefined> {
  const storeDir = new StoreDir(dirname(derivation));
  const text = await readFile(root.physical(derivation), 'utf8');
  const path = derivationOutputPath(
    parseDerivation(text, storeDir.parse(derivation), storeDir),
    'out',
    storeDir,
  );
  return path === undefined ? undefined : storeDir.format(path);
}
