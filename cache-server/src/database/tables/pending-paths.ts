import type { Kysely, Selectable } from 'kysely';
import type { Schema } from '../schema.js';

/**
 * Narinfos that came before what they need: a stock client may send them in any order. They are acknowledged and kept
 * here, invisible, until the last need is met.
 */
export interface PendingPathsTable {
  cache_id: number;
  hash_part: string;
  /** As the client sent it; checked again when it is published. */
  narinfo: string;
  created_at: number;
}

/** What a pending path waits for: `path:<hash part>` or `file:<name of an uploaded NAR>`. */
export interface PendingNeedsTable {
  cache_id: number;
  hash_part: string;
  need: string;
}

export type PendingPathRow = Selectable<PendingPathsTable>;

/** Replaces what was pending for the path. */
export async function upsertPendingPath(
  db: Kysely<Schema>,
  path: PendingPathRow,
  needs: readonly string[],
): Promise<void> {
  const { cache_id, hash_part, narinfo } = path;
  await db
    .insertInto('pending_paths')
    .values(path)
    .onConflict((conflict) => conflict.columns(['cache_id', 'hash_part']).doUpdateSet({ narinfo }))
    .execute();
  await db
    .deleteFrom('pending_needs')
    .where('cache_id', '=', cache_id)
    .where('hash_part', '=', hash_part)
    .execute();
  await db
    .insertInto('pending_needs')
    .values(needs.map((need) => ({ cache_id, hash_part, need })))
    .execute();
}

/** The paths that wait for this. */
export async function queryWaiting(
  db: Kysely<Schema>,
  cacheId: number,
  need: string,
): Promise<PendingPathRow[]> {
  return db
    .selectFrom('pending_needs')
    .innerJoin('pending_paths', (join) =>
      join
        .onRef('pending_paths.cache_id', '=', 'pending_needs.cache_id')
        .onRef('pending_paths.hash_part', '=', 'pending_needs.hash_part'),
    )
    .selectAll('pending_paths')
    .where('pending_needs.cache_id', '=', cacheId)
    .where('pending_needs.need', '=', need)
    .execute();
}

export async function deletePendingPath(
  db: Kysely<Schema>,
  cacheId: number,
  hashPart: string,
): Promise<void> {
  for (const table of ['pending_needs', 'pending_paths'] as const)
    await db.deleteFrom(table).where('cache_id', '=', cacheId).where('hash_part', '=', hashPart).execute();
}

/** Drops what has waited since before `time` (ms); gives how many. */
export async function deletePendingBefore(db: Kysely<Schema>, time: number): Promise<number> {
  const stale = await db
    .selectFrom('pending_paths')
    .select(['cache_id', 'hash_part'])
    .where('created_at', '<', time)
    .execute();
  for (const { cache_id, hash_part } of stale) await deletePendingPath(db, cache_id, hash_part);
  return stale.length;
}
