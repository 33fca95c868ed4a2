import type { Cache } from '../caches/cache.js';
import type { Database } from '../database/database.js';
import { type DeltaRow, deleteDeltas, queryDeltasByUse } from '../database/tables/deltas.js';
import { queryNars } from '../database/tables/nars.js';
import { objectKeys } from '../storage/object-key.js';
import type { ObjectStorage } from '../storage/storage.js';

export interface DeltaRetention {
  /** Milliseconds a delta stays after it was last offered. */
  readonly keep: number;
  /** Bytes that a cache's deltas may take. */
  readonly maxSize: number;
}

export interface DeltaCollection {
  readonly database: Database;
  readonly storage: ObjectStorage;
  readonly retention: DeltaRetention;
}

/**
 * Drops a cache's deltas that nobody wanted for long, those beyond its share of space, the longest unused first, and
 * those of NARs that are gone; gives how many. Nobody depends on any: a client that misses one takes the NAR.
 */
export async function collectDeltas(
  { database, storage, retention }: DeltaCollection,
  cache: Cache,
  now = Date.now(),
): Promise<number> {
  const rows = await queryDeltasByUse(database.read, cache.id);
  const nars = await queryNars(database.read, cache.id, [...new Set(rows.map(({ nar_hash }) => nar_hash))]);
  let excess = rows.reduce((sum, { size }) => sum + (size ?? 0), 0) - retention.maxSize;
  const dropped: DeltaRow[] = [];
  for (const row of rows) {
    const isStale = row.used_at < now - retention.keep;
    if (!isStale && excess <= 0 && nars.has(row.nar_hash)) continue;
    excess -= row.size ?? 0;
    dropped.push(row);
  }
  // Rows first: what is not offered is not asked for, and a forgotten object is written over when it is made again.
  await deleteDeltas(database.write, cache.id, dropped);
  const kept = dropped.filter(({ size }) => size !== null);
  await storage.delete(kept.map((row) => objectKeys.delta(cache.name, row.base_hash, row.nar_hash)));
  return dropped.length;
}
