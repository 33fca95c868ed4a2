import type { Kysely, Selectable } from 'kysely';
import { inBatches } from '../batches.js';
import type { Schema } from '../schema.js';

/** Deltas between NARs that were made, also those that came to nothing. Hashes are nix32 without a prefix. */
export interface DeltasTable {
  cache_id: number;
  base_hash: string;
  nar_hash: string;
  /** Bytes; null when it is hardly smaller than the NAR, so that there is none and nobody need try again. */
  size: number | null;
  created_at: number;
  /** When it was last offered to somebody, to a day. */
  used_at: number;
}

export type DeltaRow = Selectable<DeltasTable>;

/** The deltas that give these NARs. */
export async function queryDeltas(
  db: Kysely<Schema>,
  cacheId: number,
  narHashes: readonly string[],
): Promise<DeltaRow[]> {
  return inBatches(narHashes, (batch) =>
    db
      .selectFrom('deltas')
      .selectAll()
      .where('cache_id', '=', cacheId)
      .where('nar_hash', 'in', batch)
      .execute(),
  );
}

export async function queryDelta(
  db: Kysely<Schema>,
  cacheId: number,
  { base, narHash }: { readonly base: string; readonly narHash: string },
): Promise<DeltaRow | undefined> {
  return db
    .selectFrom('deltas')
    .selectAll()
    .where('cache_id', '=', cacheId)
    .where('nar_hash', '=', narHash)
    .where('base_hash', '=', base)
    .executeTakeFirst();
}

export async function upsertDelta(db: Kysely<Schema>, delta: DeltaRow): Promise<void> {
  const { size, used_at } = delta;
  await db
    .insertInto('deltas')
    .values(delta)
    .onConflict((conflict) =>
      conflict.columns(['cache_id', 'nar_hash', 'base_hash']).doUpdateSet({ size, used_at }),
    )
    .execute();
}

/** Notes that these NARs' deltas are of use. */
export async function touchDeltas(
  db: Kysely<Schema>,
  { cacheId, now }: { readonly cacheId: number; readonly now: number },
  narHashes: readonly string[],
): Promise<void> {
  await inBatches(narHashes, async (batch) => {
    await db
      .updateTable('deltas')
      .set({ used_at: now })
      .where('cache_id', '=', cacheId)
      .where('nar_hash', 'in', batch)
      .execute();
    return [];
  });
}

/** All of a cache's deltas, the one that was of no use for longest first. */
export async function queryDeltasByUse(db: Kysely<Schema>, cacheId: number): Promise<DeltaRow[]> {
  return db.selectFrom('deltas').selectAll().where('cache_id', '=', cacheId).orderBy('used_at').execute();
}

export async function deleteDeltas(
  db: Kysely<Schema>,
  cacheId: number,
  deltas: readonly Pick<DeltaRow, 'base_hash' | 'nar_hash'>[],
): Promise<void> {
  for (const { base_hash, nar_hash } of deltas)
    await db
      .deleteFrom('deltas')
      .where('cache_id', '=', cacheId)
      .where('nar_hash', '=', nar_hash)
      .where('base_hash', '=', base_hash)
      .execute();
}
