import { lstatSync } from 'node:fs';
import { LarderError } from '@larder/signing/errors';
import type { NarWork } from '@larder/signing/nar-work';
import type { StorePath } from '@larder/signing/store-path';
import type { Trust } from '@larder/signing/trust';
import { repairPath as repairFromSources } from '@larder/substituter/care/repair-path';
import type { LocalStore } from '@larder/substituter/local-store/local-store';
import type { SourceSet } from '@larder/substituter/source-set';

export interface RepairContext {
  readonly store: LocalStore;
  readonly work: NarWork;
  /** Absent when nothing may be fetched. */
  readonly sources: SourceSet | undefined;
  readonly trusted: Trust;
  readonly requireSignatures: boolean;
  /** Builds a derivation again and puts its outputs in the place of those that are damaged. */
  readonly rebuild: (derivation: StorePath) => Promise<unknown>;
  readonly onNote: (text: string) => void;
  readonly signal: AbortSignal;
}

/** Repairs whatever is damaged of what the paths need, references first. @throws `repair-impossible` */
export async function repairClosure(roots: Iterable<StorePath>, context: RepairContext): Promise<void> {
  const { store, onNote } = context;
  for (const { storePath } of await store.queryClosure(roots)) {
    if (await isIntact(storePath, context)) continue;
    onNote(`found corrupted or missing path '${store.storeDir.format(storePath)}'`);
    await repairPath(storePath, context);
  }
}

/** Puts good contents in the place of a valid path: from a cache, else by building its deriver. @throws `repair-impossible` */
export async function repairPath(path: StorePath, context: RepairContext): Promise<void> {
  const { store, sources, work, trusted, requireSignatures, signal } = context;
  let reason: unknown;
  if (sources !== undefined) {
    try {
      return await repairFromSources(path, { store, sources, work, trusted, requireSignatures, signal });
    } catch (error) {
      signal.throwIfAborted();
      reason = error;
    }
  }
  const deriver = (await store.queryPathInfo(path))?.deriver;
  if (deriver !== undefined && (await store.queryValidPaths([deriver])).has(deriver)) {
    await context.rebuild(deriver);
    return;
  }
  throw new LarderError('repair-impossible', `cannot repair path '${store.storeDir.format(path)}'`, {
    cause: reason,
    fields: { path },
  });
}

/** Whether a valid path is there with the contents that its hash promises. */
async function isIntact(path: StorePath, { store, work, signal }: RepairContext): Promise<boolean> {
  const file = store.realPath(path);
  if (lstatSync(file, { throwIfNoEntry: false }) === undefined) return false;
  const info = await store.queryPathInfo(path);
  const { narHash } = await work.hashPath(file, { signal });
  return info === undefined || narHash.equals(info.narHash);
}
