import { readFileSync } from 'node:fs';
import { parseDerivationBytes } from '@larder/builder/derivation/read-derivation';
import { type Derivation, derivationOutputPath } from '@larder/signing/derivation';
import { isDerivationPath, type StorePath } from '@larder/signing/store-path';
import { usageError } from './messages.js';
import type { ToolStore } from './session.js';
import { queryValid } from './store-arguments.js';

/** Where a path's files are on this machine, whoever writes the store. */
export function realPath(store: ToolStore, path: StorePath): string {
  return 'layout' in store ? store.realPath(path) : store.storeDir.format(path);
}

/** Reads a valid derivation, strings as byte strings. */
export async function readStoreDerivation(store: ToolStore, path: StorePath): Promise<Derivation> {
  await queryValid(store, path);
  return parseDerivationBytes(readFileSync(realPath(store, path)), path, store.storeDir);
}

/** The outputs of a derivation, by path. @throws `usage` where only the build can tell them */
export async function listOutputs(store: ToolStore, derivation: StorePath): Promise<StorePath[]> {
  const read = await readStoreDerivation(store, derivation);
  const paths = [...read.outputs.keys()].map((name) => derivationOutputPath(read, name, store.storeDir));
  return paths
    .map((path) => {
      if (path !== undefined) return path;
      throw usageError(
        'Cannot use output path of floating content-addressed derivation until we know what it is (e.g. by building it)',
      );
    })
    .sort();
}

/** The derivation that an argument of a query means: itself, or what the path was built from. */
export async function findDeriver(store: ToolStore, path: StorePath): Promise<StorePath> {
  if (isDerivationPath(path)) return path;
  const { deriver } = await queryValid(store, path);
  if (deriver === undefined) throw new Error(`deriver of path '${store.storeDir.format(path)}' is not known`);
  return deriver;
}
