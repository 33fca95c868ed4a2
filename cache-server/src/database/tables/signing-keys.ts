import type { Generated, Kysely, Selectable } from 'kysely';
import type { Schema } from '../schema.js';

/** The keys a cache signs with. Several may be active at once, as during a rotation. */
export interface SigningKeysTable {
  id: Generated<number>;
  cache_id: number;
  /** The key's name, as signatures carry it. */
  name: string;
  /** `name:base64`. */
  public_key: string;
  /** The secret half, encrypted (see `caches/key-seal.ts`): a dump of the database signs nothing. */
  sealed_secret: Buffer;
  active: number;
  created_at: number;
}

export type SigningKeyRow = Selectable<SigningKeysTable>;

/** The keys of a cache, oldest first. */
export async function querySigningKeys(db: Kysely<Schema>, cacheId: number): Promise<SigningKeyRow[]> {
  return db.selectFrom('signing_keys').selectAll().where('cache_id', '=', cacheId).orderBy('id').execute();
}

export async function insertSigningKey(db: Kysely<Schema>, key: Omit<SigningKeyRow, 'id'>): Promise<void> {
  await db
    .insertInto('signing_keys')
    .values(key)
    .onConflict((conflict) => conflict.columns(['cache_id', 'name']).doNothing())
    .execute();
}

/** Gives false when the cache has no such key. */
export async function updateSigningKey(
  db: Kysely<Schema>,
  key: { readonly cacheId: number; readonly name: string },
  active: boolean,
): Promise<boolean> {
  const row = await db
    .updateTable('signing_keys')
    .set({ active: active ? 1 : 0 })
    .where('cache_id', '=', key.cacheId)
    .where('name', '=', key.name)
    .returning('id')
    .executeTakeFirst();
  return row !== undefined;
}

/** Forgets a key that is out of use; gives false when the cache has no such key. */
export async function deleteSigningKey(
  db: Kysely<Schema>,
  key: { readonly cacheId: number; readonly name: string },
): Promise<boolean> {
  const row = await db
    .deleteFrom('signing_keys')
    .where('cache_id', '=', key.cacheId)
    .where('name', '=', key.name)
    .where('active', '=', 0)
    .returning('id')
    .executeTakeFirst();
  return row !== undefined;
}
