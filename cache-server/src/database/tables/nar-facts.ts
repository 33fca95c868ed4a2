import type { Kysely, Selectable } from 'kysely';
import type { Schema } from '../schema.js';

/**
 * What reading a NAR told, kept until a path is published with it: the narinfo comes after the NAR, perhaps to another
 * replica. Without a row (or a column of it) the NAR is read again from the storage.
 */
export interface NarFactsTable {
  cache_id: number;
  nar_hash: string;
  /** Every run of 32 base-32 characters in it, packed; null when there are too many. */
  hash_parts: Buffer | null;
  /** Its `.ls`, compressed; null when it is too large. */
  listing: Buffer | null;
}

export type NarFactsRow = Selectable<NarFactsTable>;

export async function queryNarFacts(
  db: Kysely<Schema>,
  cacheId: number,
  narHash: string,
): Promise<NarFactsRow | undefined> {
  return db
    .selectFrom('nar_facts')
    .selectAll()
    .where('cache_id', '=', cacheId)
    .where('nar_hash', '=', narHash)
    .executeTakeFirst();
}

export async function insertNarFacts(db: Kysely<Schema>, facts: NarFactsRow): Promise<void> {
  await db
    .insertInto('nar_facts')
    .values(facts)
    .onConflict((conflict) => conflict.columns(['cache_id', 'nar_hash']).doNothing())
    .execute();
}

export async function deleteNarFacts(db: Kysely<Schema>, cacheId: number, narHash: string): Promise<void> {
  await db.deleteFrom('nar_facts').where('cache_id', '=', cacheId).where('nar_hash', '=', narHash).execute();
}
