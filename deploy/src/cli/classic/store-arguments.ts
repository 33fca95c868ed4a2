import { lstatSync, readlinkSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { Target } from '@larder/builder/realise/targets';
import { LarderError } from '@larder/signing/errors';
import type { ValidPathInfo } from '@larder/signing/path-info';
import { isDerivationPath, type StoreDir, type StorePath } from '@larder/signing/store-path';
import type { MachineStore } from '@larder/substituter/store';

/**
 * The store path that an argument names: a path in the store, or a link that leads into it. Only the argument itself is
 * followed, so that the store need not be where links say (`--store DIR`). Reference: `Store::followLinksToStorePath`.
 */
export function followToStorePath(text: string, storeDir: StoreDir): StorePath {
  let path = resolve(text);
  while (!path.startsWith(`${storeDir.path}/`)) {
    if (!lstatSync(path).isSymbolicLink())
      throw new LarderError('usage-path', `path '${path}' is not in the Nix store`);
    path = resolve(dirname(path), readlinkSync(path));
  }
  return storeDir.parseWithin(path).storePath;
}

/** A store path, with the outputs of a derivation that are asked for: `….drv!out,dev`. */
export function followToTarget(text: string, storeDir: StoreDir): Target {
  const mark = text.indexOf('!');
  const path = followToStorePath(mark < 0 ? text : text.slice(0, mark), storeDir);
  if (!isDerivationPath(path)) return { type: 'path', path };
  const names = mark < 0 ? [] : text.slice(mark + 1).split(',');
  return { type: 'derivation', path, outputs: names.length === 0 ? undefined : names };
}

/** What the store knows of a path. @throws `path-not-valid` in Nix's words */
export async function queryValid(store: MachineStore, path: StorePath): Promise<ValidPathInfo> {
  const info = await store.queryPathInfo(path);
  if (info !== undefined) return info;
  throw new LarderError('path-not-valid', `path '${store.storeDir.format(path)}' is not valid`);
}
