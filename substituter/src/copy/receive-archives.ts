import { type ArchiveRequest, MAX_SMALL_NAR } from '@larder/signing/download';
import { LarderError } from '@larder/signing/errors';
import type { NarWork, RestoredItem } from '@larder/signing/nar-work';
import type { NarInfo } from '@larder/signing/narinfo';
import { BinaryCache } from '../binary-cache/binary-cache.js';
import { checkContents } from '../local-store/check-contents.js';
import { deleteTree } from '../local-store/delete-tree.js';
import type { LocalStore, StagedPath } from '../local-store/local-store.js';
import type { FoundPath } from '../source-set.js';
import { bareHash } from './delta-plan.js';
import type { ReceiveOptions, Reception } from './destination.js';
import { nameSource } from './nar-mismatch.js';

/** Whether a path can come with others in one answer: from a Larder server, which finds archives by their NarHash. */
export function comesWithOthers({ info, source }: FoundPath): boolean {
  if (!(source instanceof BinaryCache) || source.larder === undefined) return false;
  const { url, compression } = info as NarInfo;
  return (
    info.narSize <= MAX_SMALL_NAR && compression === 'zstd' && url === `nar/${bareHash(info.narHash)}.nar.zst`
  );
}

export interface ReceiveArchivesOptions extends ReceiveOptions {
  readonly store: LocalStore;
  readonly work: NarWork;
}

interface Received {
  /** In the order of the paths. */
  readonly receptions: (Reception | Error)[];
  /** Those that are complete and in their place, for a commit. */
  readonly staged: readonly StagedPath[];
}

interface Place {
  readonly index: number;
  readonly found: FoundPath;
  readonly path: StagedPath;
}

/** Receives many small paths in one answer, restored by one worker in one go: what a path costs by itself is mostly asking for it. */
export async function receiveArchives(
  found: readonly FoundPath[],
  options: ReceiveArchivesOptions,
): Promise<Received> {
  const { store } = options;
  const receptions: (Reception | Error)[] = found.map(() => 'present');
  const places: Place[] = [];
  for (const [index, each] of found.entries()) {
    const path = await store.tryStage(each.info.storePath);
    if (path === 'busy') receptions[index] = 'busy';
    else if (path !== undefined) places.push({ index, found: each, path });
  }
  const restored = await restoreAll(places, options);
  const staged: StagedPath[] = [];
  for (const [number, place] of places.entries()) {
    const failure = await complete(place, restored[number], options);
    receptions[place.index] = failure ?? 'received';
    if (failure === undefined) staged.push(place.path);
  }
  return { receptions, staged };
}

async function restoreAll(
  places: readonly Place[],
  { store, work, signal }: ReceiveArchivesOptions,
): Promise<readonly RestoredItem[]> {
  const api = (places[0]?.found.source as BinaryCache | undefined)?.larder;
  if (api === undefined) return [];
  const archives = places.map(
    ({ found: { info, delta } }): ArchiveRequest => ({
      narHash: bareHash(info.narHash),
      ...(delta === undefined ? {} : { base: bareHash(delta.base.narHash) }),
    }),
  );
  const items = places.map(({ path, found: { info, delta } }) => ({
    target: path.directory,
    narHash: info.narHash,
    narSize: info.narSize,
    base: delta === undefined ? undefined : store.realPath(delta.base.storePath),
  }));
  try {
    const fsync = store.fsyncsStorePaths;
    return await work.restoreMany(api.openArchives(archives, signal), items, { fsync, signal });
  } catch (error) {
    return places.map(() => ({ fileSize: 0, error: error as Error }));
  }
}

/** Why the path is not there, in which case nothing of it is. */
async function complete(
  { found, path }: Place,
  restored: RestoredItem | undefined,
  { store, onBytes, onFetched }: ReceiveArchivesOptions,
): Promise<Error | undefined> {
  try {
    if (restored === undefined)
      throw new LarderError('cache-unreachable', 'the answer ended before this path');
    if (restored.error !== undefined) throw restored.error;
    await checkContents(found.info, path.directory, store.storeDir);
    await path.publish();
  } catch (error) {
    await deleteTree(path.directory);
    path.release();
    return nameSource(error, found) as Error;
  }
  const { fileSize } = found.info as NarInfo;
  onBytes(found.info.narSize);
  onFetched?.(found, restored.fileSize, found.delta !== undefined && restored.fileSize !== fileSize);
  return undefined;
}
