import type { Cache } from '../caches/cache.js';
import { deleteDeltas, queryDelta } from '../database/tables/deltas.js';
import type { DeltaMaker } from '../deltas/delta-maker.js';
import type { Foundation } from '../start.js';
import { checkDelta } from './check-deltas.js';
import { checkSideFile } from './check-side-files.js';

/** Lets go of a delta that is not what its row says, or has none: it is made again when it is asked for. */
export async function dropDelta(
  foundation: Foundation,
  cache: Cache,
  { key, maker }: { readonly key: string; readonly maker: DeltaMaker },
): Promise<void> {
  const { database, storage } = foundation;
  const [, base = '', narHash = ''] = /\/delta\/([^/]+)\/([^/]+)\.zst$/.exec(key) ?? [];
  const row = await queryDelta(database.write, cache.id, { base, narHash });
  // Made anew meanwhile.
  if (row !== undefined && row.size !== null) {
    if ((await checkDelta(foundation, cache, { row, maker })) === undefined) return;
    await deleteDeltas(database.write, cache.id, [row]);
  } else if (!(await isOld(foundation, key))) return;
  await storage.delete([key]);
}

/** Deletes a debug link or a realisation, unless what it names came meanwhile, or it was written anew. */
export async function dropSideFile(foundation: Foundation, cache: Cache, key: string): Promise<void> {
  if (!(await isOld(foundation, key))) return;
  if ((await checkSideFile(foundation, cache, key)) === undefined) return;
  await foundation.storage.delete([key]);
}

async function isOld({ storage, config }: Foundation, key: string): Promise<boolean> {
  const modified = (await storage.head(key))?.modified.getTime();
  return modified !== undefined && modified < Date.now() - config.uploads.orphans;
}
