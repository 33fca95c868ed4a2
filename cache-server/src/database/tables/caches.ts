import type { Generated, Kysely, Selectable } from 'kysely';
import type { Schema } from '../schema.js';

/** The caches this server hosts. */
export interface CachesTable {
  id: Generated<number>;
  /** Also the prefix of its objects: never renamed. */
  name: string;
  public: number;
  priority: number;
  store_dir: string;
  created_at: number;
  /** JSON of `CacheOptions`. */
  settings: string;
}

export type CacheRow = Selectable<CachesTable>;

export async function queryCache(db: Kysely<Schema>, name: string): Promise<CacheRow | undefined> {
  return db.selectFrom('caches').selectAll().where('name', '=', name).executeTakeFirst();
}

export async function queryCaches(db: Kysely<Schema>): Promise<CacheRow[]> {
  return db.selectFrom('caches').selectAll().orderBy('name').execute();
}

/** The names of those that everyone may read. */
export async function queryPublicNames(db: Kysely<Schema>): Promise<string[]> {
  const rows = await db.selectFrom('caches').select('name').where('public', '=', 1).execute();
  return rows.map((row) => row.name);
}

/** Gives the new row; `undefined` when the name is taken. */
export async function insertCache(
  db: Kysely<Schema>,
  cache: Omit<CacheRow, 'id'>,
): Promise<CacheRow | undefined> {
  return db
    .insertInto('caches')
    .values(cache)
    .onConflict((conflict) => conflict.column('name').doNothing())
    .returningAll()
    .executeTakeFirst();
}

export async function updateCache(
  db: Kysely<Schema>,
  id: number,
  change: Partial<Pick<CacheRow, 'public' | 'priority' | 'settings'>>,
): Promise<void> {
  await db.updateTable('caches').set(change).where('id', '=', id).execute();
}

/** Takes a cache out of the database, with all that belongs to it. */
export async function deleteCache(db: Kysely<Schema>, id: number): Promise<void> {
  const collections = db.selectFrom('collections').select('id').where('cache_id', '=', id);
  for (const table of ['collection_plan', 'collection_counts'] as const)
    await db.deleteFrom(table).where('collection_id', 'in', collections).execute();
  const tables = [
    'collections',
    'leases',
    'upstream_paths',
    'resign_jobs',
    'withdrawn_paths',
    'cache_usage',
    'deltas',
    'name_parts',
    'usage_days',
    'pin_paths',
    'pin_revisions',
    'pins',
    'debug_links',
    'pending_needs',
    'pending_paths',
    'path_references',
    'paths',
    'nar_facts',
    'nar_files',
    'nars',
    'signing_keys',
  ] as const;
  for (const table of tables) await db.deleteFrom(table).where('cache_id', '=', id).execute();
  await db.deleteFrom('caches').where('id', '=', id).execute();
}
