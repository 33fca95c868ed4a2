import type { Kysely, Selectable } from 'kysely';
import type { Schema } from '../schema.js';

/** Paths that an upstream has, was asked for, and that are not stored here yet: so that any replica finds the NAR. */
export interface UpstreamPathsTable {
  cache_id: number;
  hash_part: string;
  nar_hash: string;
  /** As the upstream has it; its signature was checked. */
  narinfo: string;
  /** Absolute. */
  nar_url: string;
  fetched_at: number;
}

export type UpstreamPathRow = Selectable<UpstreamPathsTable>;

export async function upsertUpstreamPath(db: Kysely<Schema>, row: UpstreamPathRow): Promise<void> {
  const { nar_hash, narinfo, nar_url, fetched_at } = row;
  await db
    .insertInto('upstream_paths')
    .values(row)
    .onConflict((conflict) =>
      conflict.columns(['cache_id', 'hash_part']).doUpdateSet({ nar_hash, narinfo, nar_url, fetched_at }),
    )
    .execute();
}

export async function queryUpstreamPath(
  db: Kysely<Schema>,
  cacheId: number,
  hashPart: string,
): Promise<UpstreamPathRow | undefined> {
  return db
    .selectFrom('upstream_paths')
    .selectAll()
    .where('cache_id', '=', cacheId)
    .where('hash_part', '=', hashPart)
    .executeTakeFirst();
}

export async function queryUpstreamPathsByNar(
  db: Kysely<Schema>,
  cacheId: number,
  narHash: string,
): Promise<UpstreamPathRow[]> {
  return db
    .selectFrom('upstream_paths')
    .selectAll()
    .where('cache_id', '=', cacheId)
    .where('nar_hash', '=', narHash)
    .execute();
}

export async function deleteUpstreamPath(
  db: Kysely<Schema>,
  cacheId: number,
  hashPart: string,
): Promise<void> {
  await db
    .deleteFrom('upstream_paths')
    .where('cache_id', '=', cacheId)
    .where('hash_part', '=', hashPart)
    .execute();
}
