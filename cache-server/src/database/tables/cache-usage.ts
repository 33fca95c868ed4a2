import { type Kysely, type Selectable, sql } from 'kysely';
import type { Schema } from '../schema.js';

/** What a cache holds, counted as it changes: counting a million rows for each upload would not do. */
export interface CacheUsageTable {
  cache_id: number;
  paths: number;
  /** Stored NARs, those of withdrawn paths among them. */
  nars: number;
  /** Their bytes as stored. */
  nar_bytes: number;
  /** Their bytes as NARs. */
  unpacked_bytes: number;
}

export type CacheUsageRow = Selectable<CacheUsageTable>;

/** Adds to the counts; the last statement of a transaction, as all of a cache's changes meet in this row. */
export async function addUsage(
  db: Kysely<Schema>,
  cacheId: number,
  change: Partial<Omit<CacheUsageRow, 'cache_id'>>,
): Promise<void> {
  const { paths = 0, nars = 0, nar_bytes = 0, unpacked_bytes = 0 } = change;
  if (paths === 0 && nars === 0 && nar_bytes === 0) return;
  await db
    .insertInto('cache_usage')
    .values({ cache_id: cacheId, paths, nars, nar_bytes, unpacked_bytes })
    .onConflict((conflict) =>
      conflict.column('cache_id').doUpdateSet((query) => ({
        paths: query('cache_usage.paths', '+', query.ref('excluded.paths')),
        nars: query('cache_usage.nars', '+', query.ref('excluded.nars')),
        nar_bytes: query('cache_usage.nar_bytes', '+', query.ref('excluded.nar_bytes')),
        unpacked_bytes: query('cache_usage.unpacked_bytes', '+', query.ref('excluded.unpacked_bytes')),
      })),
    )
    .execute();
}

export async function queryUsage(db: Kysely<Schema>, cacheId: number): Promise<CacheUsageRow> {
  const row = await db
    .selectFrom('cache_usage')
    .selectAll()
    .where('cache_id', '=', cacheId)
    .executeTakeFirst();
  return row ?? { cache_id: cacheId, paths: 0, nars: 0, nar_bytes: 0, unpacked_bytes: 0 };
}

/** Counts a cache anew, and sets the time for NARs that no path has and none was set for. */
export async function recountUsage(db: Kysely<Schema>, cacheId: number, expiresAt: number): Promise<void> {
  await sql`update nars set expires_at = ${expiresAt} where cache_id = ${cacheId} and expires_at is null
    and not exists (select 1 from paths where paths.cache_id = nars.cache_id and paths.nar_hash = nars.nar_hash)`.execute(
    db,
  );
  await sql`insert into cache_usage (cache_id, paths, nars, nar_bytes, unpacked_bytes)
    select ${cacheId}, (select count(*) from paths where cache_id = ${cacheId}), count(*),
      coalesce(sum(file_size), 0), coalesce(sum(nar_size), 0)
    from nars where cache_id = ${cacheId}
    on conflict (cache_id) do update
    set paths = excluded.paths, nars = excluded.nars, nar_bytes = excluded.nar_bytes,
      unpacked_bytes = excluded.unpacked_bytes`.execute(db);
}
