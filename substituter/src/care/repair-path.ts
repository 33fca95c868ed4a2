import { LarderError } from '@larder/signing/errors';
import type { NarWork } from '@larder/signing/nar-work';
import type { StorePath } from '@larder/signing/store-path';
import type { Trust } from '@larder/signing/trust';
import { findTrusted } from '../copy/copy-paths.js';
import { LocalDestination } from '../copy/local-destination.js';
import { restorePath } from '../copy/restore-path.js';
import { checkContents } from '../local-store/check-contents.js';
import { deleteTree } from '../local-store/delete-tree.js';
import type { LocalStore } from '../local-store/local-store.js';
import type { SourceSet } from '../source-set.js';

export interface RepairOptions {
  readonly store: LocalStore;
  readonly work: NarWork;
  readonly sources: SourceSet;
  readonly trusted: Trust;
  readonly requireSignatures: boolean;
  readonly signal: AbortSignal;
}

/**
 * Puts a good copy from a cache in the place of a path that is damaged or gone. The new copy is complete and checked
 * before the old one steps aside.
 * @throws `path-not-found`, `signature-untrusted`, `nar-hash-mismatch`
 */
export async function repairPath(path: StorePath, options: RepairOptions): Promise<void> {
  const { store, work, sources, trusted, requireSignatures, signal } = options;
  const destination = new LocalDestination(store, { work });
  const found = await findTrusted(path, new Set(), {
    sources,
    destination,
    trusted,
    requireSignatures,
    signal,
  });
  if (found === undefined) {
    throw new LarderError('path-not-found', `no source has ${path} to repair it from`, { fields: { path } });
  }
  await store.addTempRoots([path, ...found.info.references], signal);
  const staged = (await store.stage(path, { signal, repair: true }))!;
  try {
    const { directory } = staged;
    await restorePath(found, { work, directory, fsync: store.fsyncsStorePaths, signal });
    await checkContents(found.info, directory, store.storeDir);
    await staged.publish();
    store.register([found.info]);
  } finally {
    await deleteTree(staged.directory);
    staged.release();
  }
}
