import { lstatSync } from 'node:fs';
import { derivationOutputPath } from '@larder/signing/derivation';
import type { ValidPathInfo } from '@larder/signing/path-info';
import { type StorePath, storePathHashPart } from '@larder/signing/store-path';
import { deleteTree } from '@larder/substituter/local-store/delete-tree';
import { lockPath } from '@larder/substituter/local-store/file-lock';
import type { LocalStore } from '@larder/substituter/local-store/local-store';
import type { BuildJob } from '../build-job.js';
import { moveTree } from './move-tree.js';

/** An output with its final contents, and what describes it. */
export interface FinishedOutput {
  readonly name: string;
  readonly file: string;
  readonly info: ValidPathInfo;
}

/** Moves outputs into the store and makes them valid. The locks of paths that were known before the build are held. */
export async function storeOutputs(
  store: LocalStore,
  { derivation, mode, signal }: BuildJob,
  outputs: readonly FinishedOutput[],
): Promise<void> {
  const locks = [];
  try {
    for (const { name, file, info } of outputs) {
      const { storePath } = info;
      const own = derivationOutputPath(derivation, name, store.storeDir);
      if (storePath !== own) locks.push(await lockPath(store.realPath(storePath), { signal }));
      await store.addTempRoots([storePath]);
      await moveOutput(store, file, { path: storePath, replace: mode === 'repair' });
    }
    // One batch: outputs may refer to each other, and none is valid without the others.
    store.register(outputs.map(({ info }) => info));
  } finally {
    for (const lock of locks) lock.release();
  }
}

/** Moves an output into the store, unless it is there: the same contents may have been made before. */
async function moveOutput(
  store: LocalStore,
  file: string,
  { path, replace }: { readonly path: StorePath; readonly replace: boolean },
): Promise<void> {
  const target = store.realPath(path);
  if (file === target) return store.optimiseNew(path);
  if ((await store.queryValidPaths([path])).has(path)) {
    if (replace) await replaceOutput(store, file, path);
    return;
  }
  await deleteTree(target);
  moveTree(file, target);
  await store.optimiseNew(path);
}

/** The damaged contents step aside for the new ones, so that the path is never without any for long. */
async function replaceOutput(store: LocalStore, file: string, path: StorePath): Promise<void> {
  const target = store.realPath(path);
  const aside = `${store.layout.realStoreDir}/${storePathHashPart(path)}-larder-replaced`;
  await deleteTree(aside);
  if (lstatSync(target, { throwIfNoEntry: false }) !== undefined) moveTree(target, aside);
  moveTree(file, target);
  await deleteTree(aside);
  await store.optimiseNew(path, { repair: true });
}
