import type { Kysely, Selectable } from 'kysely';
import { inBatches } from '../batches.js';
import type { Schema } from '../schema.js';

/**
 * Paths that the cache no longer serves, but whose NARs are still there, for clients that remember the narinfo. An upload that
 * refers to one brings it back.
 */
export interface WithdrawnPathsTable {
  cache_id: number;
  hash_part: string;
  nar_hash: string;
  narinfo: string;
  withdrawn_at: number;
}

export type WithdrawnPathRow = Selectable<WithdrawnPathsTable>;

export async function insertWithdrawnPaths(
  db: Kysely<Schema>,
  rows: readonly WithdrawnPathRow[],
): Promise<void> {
  await inBatches(rows, async (batch) => {
    await db
      .insertInto('withdrawn_paths')
      .values([...batch])
      .onConflict((conflict) =>
        conflict.columns(['cache_id', 'hash_part']).doUpdateSet((query) => ({
          nar_hash: query.ref('excluded.nar_hash'),
          narinfo: query.ref('excluded.narinfo'),
          withdrawn_at: query.ref('excluded.withdrawn_at'),
        })),
      )
      .execute();
    return [];
  });
}

/** Those of `hashParts` that were withdrawn, by hash part. */
export async function queryWithdrawnPaths(
  db: Kysely<Schema>,
  cacheId: number,
  hashParts: readonly string[],
): Promise<Map<string, WithdrawnPathRow>> {
  const rows = await inBatches(hashParts, (batch) =>
    db
      .selectFrom('withdrawn_paths')
      .selectAll()
      .where('cache_id', '=', cacheId)
      .where('hash_part', 'in', batch)
      .execute(),
  );
  return new Map(rows.map((row) => [row.hash_part, row]));
}

/** Forgets withdrawn paths: by hash part once they are back, by NAR once that is gone. */
export async function deleteWithdrawnPaths(
  db: Kysely<Schema>,
  cacheId: number,
  by: { readonly column: 'hash_part' | 'nar_hash'; readonly values: readonly string[] },
): Promise<void> {
  await inBatches(by.values, async (batch) => {
    await db
      .deleteFrom('withdrawn_paths')
      .where('cache_id', '=', cacheId)
      .where(by.column, 'in', batch)
      .execute();
    return [];
  });
}
