import type { Kysely, Selectable } from 'kysely';
import { inBatches } from '../batches.js';
import type { Schema } from '../schema.js';

/** NARs that were verified and are in the storage, under `nar/<nar_hash>.nar.zst`. */
export interface NarsTable {
  cache_id: number;
  nar_hash: string;
  /** Bytes, uncompressed. */
  nar_size: number;
  /** Of the stored, compressed file. */
  file_hash: string;
  file_size: number;
  created_at: number;
}

export type NarRow = Selectable<NarsTable>;

export async function queryNar(
  db: Kysely<Schema>,
  cacheId: number,
  narHash: string,
): Promise<NarRow | undefined> {
  return db
    .selectFrom('nars')
    .selectAll()
    .where('cache_id', '=', cacheId)
    .where('nar_hash', '=', narHash)
    .executeTakeFirst();
}

/** Those of `narHashes` that are stored, by hash. */
export async function queryNars(
  db: Kysely<Schema>,
  cacheId: number,
  narHashes: readonly string[],
): Promise<Map<string, NarRow>> {
  const rows = await inBatches(narHashes, (batch) =>
    db
      .selectFrom('nars')
      .selectAll()
      .where('cache_id', '=', cacheId)
      .where('nar_hash', 'in', batch)
      .execute(),
  );
  return new Map(rows.map((row) => [row.nar_hash, row]));
}

/** Records a stored NAR. Another upload of it may have come first: the row that stays is as good. */
export async function insertNar(db: Kysely<Schema>, nar: NarRow): Promise<void> {
  await db
    .insertInto('nars')
    .values(nar)
    .onConflict((conflict) => conflict.columns(['cache_id', 'nar_hash']).doNothing())
    .execute();
}
