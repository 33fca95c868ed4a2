import { LarderError } from '@larder/signing/errors';
import type { NarWork } from '@larder/signing/nar-work';
import type { StorePath } from '@larder/signing/store-path';
import { checkTrust, type TrustedKeys } from '@larder/signing/trust';
import { restorePath } from '../copy/restore-path.js';
import { checkContents } from '../local-store/check-contents.js';
import { deleteTree } from '../local-store/delete-tree.js';
import type { LocalStore } from '../local-store/local-store.js';
import type { SourceSet } from '../source-set.js';

export interface RepairOptions {
  readonly store: LocalStore;
  readonly work: NarWork;
  readonly sources: SourceSet;
  readonly trusted: TrustedKeys;
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
  const found = await sources.find(path, { signal });
  if (found === undefined) {
    throw new LarderError('path-not-found', `no source has ${path} to repair it from`, { fields: { path } });
  }
  checkTrust(found.info, { storeDir: store.storeDir, trusted, requireSignatures, source: found.source.uri });
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
