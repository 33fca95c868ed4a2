import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { parseDerivationOutputs } from '@larder/signing/derivation';
import type { StoreDir, StorePath } from '@larder/signing/store-path';
import type { DerivationOutputs } from './database.js';

/**
 * The outputs that a `.drv` file on disk names, as Nix's database wants them beside the derivation: its garbage
 * collector asks them. Outputs that are known only once they are built are left out.
 * @throws `derivation-malformed`
 */
export function readDerivationOutputs(file: string, storeDir: StoreDir): DerivationOutputs {
  const named = parseDerivationOutputs(readFileSync(file, 'latin1'), basename(file) as StorePath, storeDir);
  const outputs = new Map<string, StorePath>();
  for (const [name, path] of named) if (path !== undefined) outputs.set(name, path);
  return outputs;
}
