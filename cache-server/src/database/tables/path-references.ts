import type { Kysely } from 'kysely';
import { inBatches } from '../batches.js';
import type { Schema } from '../schema.js';

/** Which path refers to which, by hash parts; references of a path to itself are left out. */
export interface PathReferencesTable {
  cache_id: number;
  hash_part: string;
  reference: string;
}

export async function insertReferences(
  db: Kysely<Schema>,
  rows: readonly PathReferencesTable[],
): Promise<void> {
  await inBatches(rows, async (batch) => {
    await db
      .insertInto('path_references')
      .values([...batch])
      .onConflict((conflict) => conflict.columns(['cache_id', 'hash_part', 'reference']).doNothing())
      .execute();
    return [];
  });
}

/** The hash parts of the paths that refer to this one. */
export async function queryReferrers(
  db: Kysely<Schema>,
  cacheId: number,
  hashPart: string,
): Promise<string[]> {
  const rows = await db
    .selectFrom('path_references')
    .select('hash_part')
    .where('cache_id', '=', cacheId)
    .where('reference', '=', hashPart)
    .orderBy('hash_part')
    .execute();
  return rows.map((row) => row.hash_part);
}
