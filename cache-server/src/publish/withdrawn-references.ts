import { parseNarInfo } from '@larder/signing/narinfo';
import { storePathHashPart, storePathName } from '@larder/signing/store-path';
import type { Cache } from '../caches/cache.js';
import type { Database } from '../database/database.js';
import { queryNars } from '../database/tables/nars.js';
import { queryPathNames } from '../database/tables/paths.js';
import { queryWithdrawnPaths } from '../database/tables/withdrawn-paths.js';
import { draftOfNarInfo, type PathDraft } from './draft.js';
import { otherReferences } from './references.js';

/**
 * Adds to a batch what it refers to that was withdrawn from the cache and whose NAR is still there, and what that refers to,
 * and so on: a client that was told a moment ago that the cache has these need not send them again.
 */
export async function bringBackWithdrawn(
  database: Database,
  cache: Cache,
  drafts: ReadonlyMap<string, PathDraft>,
): Promise<ReadonlyMap<string, PathDraft>> {
  const all = new Map(drafts);
  let added: readonly PathDraft[] = [...drafts.values()];
  while (added.length > 0) {
    const wanted = [...new Set(added.flatMap(otherReferences))].filter(
      (path) => !all.has(storePathHashPart(path)),
    );
    const names = await queryPathNames(database.read, cache.id, wanted.map(storePathHashPart));
    const missing = wanted.filter((path) => names.get(storePathHashPart(path)) !== storePathName(path));
    added = (await findWithdrawn(database, cache, missing.map(storePathHashPart))).filter((draft) =>
      missing.includes(draft.storePath),
    );
    for (const draft of added) all.set(storePathHashPart(draft.storePath), draft);
  }
  return all;
}

async function findWithdrawn(
  database: Database,
  cache: Cache,
  hashParts: readonly string[],
): Promise<PathDraft[]> {
  if (hashParts.length === 0) return [];
  const rows = [...(await queryWithdrawnPaths(database.read, cache.id, hashParts)).values()];
  const nars = await queryNars(
    database.read,
    cache.id,
    rows.map((row) => row.nar_hash),
  );
  return rows
    .filter((row) => nars.has(row.nar_hash))
    .map((row) => draftOfNarInfo(parseNarInfo(row.narinfo, cache.storeDir, 'a withdrawn narinfo')));
}
