import { MAX_DELTA_NAR } from '@larder/signing/delta';
import { LarderError } from '@larder/signing/errors';
import type { NarWork } from '@larder/signing/nar-work';
import type { ValidPathInfo } from '@larder/signing/path-info';
import type { StorePath } from '@larder/signing/store-path';
import { mapConcurrently } from '../concurrency.js';
import { type DeltaBase, findDeltaBases } from '../copy/delta-bases.js';
import type { LocalStore } from '../local-store/local-store.js';
import type { SideFiles } from './side-files.js';

export interface PushDeltasOptions {
  /** Where both closures are. */
  readonly store: LocalStore;
  readonly sideFiles: SideFiles;
  readonly work: NarWork;
  /** Of the older closure: what those who will want the deltas have. */
  readonly from: readonly StorePath[];
  /** Says which were not made or not taken. */
  readonly onNote?: (text: string) => void;
  readonly signal?: AbortSignal;
}

export interface PushedDeltas {
  /** That the cache keeps. */
  readonly deltas: number;
  /** Of these deltas, and of the archives they stand for, unpacked. */
  readonly bytes: number;
  readonly narBytes: number;
}

/** Deltas being made at a time: each holds two archives and its tables in memory. */
const deltasAtOnce = 2;

/** Archives of which a delta is not worth asking for, in bytes. */
const smallestNar = 512;

/**
 * Makes the deltas from an older closure to the closure of `roots`, which is in the cache as the older one is, and puts
 * them there. The older one must be in the store.
 * @throws `path-not-found` when it is not
 */
export async function pushDeltas(
  roots: readonly StorePath[],
  { store, sideFiles, work, from, onNote, signal }: PushDeltasOptions,
): Promise<PushedDeltas> {
  await store.addTempRoots([...roots, ...from], signal);
  const old = await closureOf(store, from);
  const fresh = [...(await closureOf(store, roots)).values()].filter(({ storePath }) => !old.has(storePath));
  const bases = await findDeltaBases(fresh, {
    queryAllValidPaths: async () => [...old.keys()],
    queryPathInfo: async (path) => old.get(path),
    queryClosure: async () => [...old.values()],
  });
  const total = { deltas: 0, bytes: 0, narBytes: 0 };
  await mapConcurrently(fresh, deltasAtOnce, async (info) => {
    const base = usableBase(info, bases.get(info.storePath) ?? []);
    if (base === undefined) return;
    const delta = await work.makeDelta(
      store.realPath(base.storePath),
      store.realPath(info.storePath),
      signal,
    );
    try {
      if (!(await sideFiles.putDelta({ base: base.narHash, next: info.narHash }, delta, signal))) return;
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof LarderError)) throw error;
      onNote?.(`the delta to ${info.storePath} stays here: ${error.message}`);
      return;
    }
    total.deltas++;
    total.bytes += delta.length;
    total.narBytes += info.narSize;
  });
  return total;
}

async function closureOf(
  store: LocalStore,
  roots: readonly StorePath[],
): Promise<Map<StorePath, ValidPathInfo>> {
  const missing = await store.queryMissing(roots);
  if (missing.size > 0) {
    throw new LarderError(
      'path-not-found',
      `${[...missing][0]} is not in ${store.uri}: deltas are made from what is there, so fetch it first`,
      { fields: { missing: [...missing] } },
    );
  }
  return new Map((await store.queryClosure(roots)).map((info) => [info.storePath, info]));
}

function usableBase(info: ValidPathInfo, bases: readonly DeltaBase[]): DeltaBase | undefined {
  if (info.narSize < smallestNar || info.narSize > MAX_DELTA_NAR) return undefined;
  return bases.find(({ narSize, narHash }) => narSize <= MAX_DELTA_NAR && !narHash.equals(info.narHash));
}
