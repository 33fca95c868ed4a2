import { formatContentAddress } from '@larder/signing/content-address';
import { storePathHashPart, storePathName } from '@larder/signing/store-path';
import type { Cache } from '../caches/cache.js';
import type { Database } from '../database/database.js';
import { insertNameParts } from '../database/tables/name-parts.js';
import { deleteNarFacts } from '../database/tables/nar-facts.js';
import { insertReferences } from '../database/tables/path-references.js';
import { insertPath } from '../database/tables/paths.js';
import { deletePendingPath } from '../database/tables/pending-paths.js';
import type { ReadyPath } from './publisher.js';
import { otherReferences } from './references.js';

/**
 * Makes paths visible through the server: one transaction. What was kept of the uploads for this moment goes with it.
 * @returns the hash parts of those that were new: another replica may have been first with the others
 */
export async function recordPaths(
  database: Database,
  cache: Cache,
  paths: readonly ReadyPath[],
): Promise<ReadonlySet<string>> {
  if (paths.length === 0) return new Set();
  await insertNameParts(
    database.write,
    cache.id,
    paths.map(({ draft }) => storePathName(draft.storePath)),
  );
  return database.write.transaction().execute(async (db) => {
    const added = new Set<string>();
    for (const { draft, hashPart, nar, narinfo } of paths) {
      const isNew = await insertPath(db, {
        cache_id: cache.id,
        hash_part: hashPart,
        name: storePathName(draft.storePath),
        nar_hash: nar.nar_hash,
        nar_size: nar.nar_size,
        deriver: draft.deriver ?? null,
        ca: draft.ca === undefined ? null : formatContentAddress(draft.ca),
        narinfo,
        created_at: Date.now(),
      });
      if (isNew) added.add(hashPart);
      await insertReferences(
        db,
        otherReferences(draft).map((reference) => ({
          cache_id: cache.id,
          hash_part: hashPart,
          reference: storePathHashPart(reference),
        })),
      );
      await deleteNarFacts(db, cache.id, nar.nar_hash);
      await deletePendingPath(db, cache.id, hashPart);
    }
    return added;
  });
}
