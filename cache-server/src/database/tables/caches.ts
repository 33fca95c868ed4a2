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
}

export type CacheRow = Selectable<CachesTable>;

export async function queryCache(db: Kysely<Schema>, name: string): Promise<CacheRow | undefined> {
  return db.selectFrom('caches').selectAll().where('name', '=', name).executeTakeFirst();
}

export async function queryCaches(db: Kysely<Schema>): Promise<CacheRow[]> {
  return db.selectFrom('caches').selectAll().orderBy('name').execute();
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
