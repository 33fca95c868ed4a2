import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { derivationOutputPath, parseDerivation } from '@larder/signing/derivation';
import type { StoreDir, StorePath } from '@larder/signing/store-path';
import type { DerivationOutputs } from './database.js';

/**
 * The outputs that a `.drv` file on disk names, as Nix's database wants them beside the derivation: its garbage
 * collector asks them. Outputs that are known only once they are built are left out.
 * @throws `derivation-malformed`
 */
export function readDerivationOutputs(file: string, storeDir: StoreDir): DerivationOutputs {
  const derivation = parseDerivation(readFileSync(file, 'latin1'), basename(file) as StorePath, storeDir);
  const outputs = new Map<string, StorePath>();
  for (const name of derivation.outputs.keys()) {
    const path = derivationOutputPath(derivation, name, storeDir);
    if (path !== undefined) outputs.set(name, path);
  }
  return outputs;
}
