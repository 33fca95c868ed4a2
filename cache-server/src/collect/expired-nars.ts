import type { Transaction } from 'kysely';
import type { Logger } from 'pino';
import type { Cache } from '../caches/cache.js';
import { inBatches } from '../database/batches.js';
import type { Database } from '../database/database.js';
import { isPostgres } from '../database/dialect.js';
import type { Schema } from '../database/schema.js';
import { addUsage } from '../database/tables/cache-usage.js';
import { type NarRow, queryExpiredNars } from '../database/tables/nars.js';
import { deleteWithdrawnPaths } from '../database/tables/withdrawn-paths.js';
import { transact } from '../database/transaction.js';
import type { Leases } from '../leases/leases.js';
import { narKey } from '../storage/object-key.js';
import type { ObjectStorage } from '../storage/storage.js';

export interface ExpiredNarsOptions {
  readonly database: Database;
  readonly storage: ObjectStorage;
  readonly leases: Leases;
  readonly logger: Logger;
}

export interface DeletedNars {
  readonly nars: number;
  /** As stored. */
  readonly bytes: number;
}

const BATCH = 200;

/**
 * Deletes the NARs that no path has any more, or none ever had, and whose time is up. Like a withdrawal: one transaction takes
 * them from the database, unless a path was published with one meanwhile; then they go from the bucket, under leases that
 * keep uploads of the same NARs waiting.
 */
export async function deleteExpiredNars(
  options: ExpiredNarsOptions,
  cache: Cache,
  { now = Date.now(), signal }: { readonly now?: number; readonly signal?: AbortSignal } = {},
): Promise<DeletedNars> {
  const total = { nars: 0, bytes: 0 };
  for (;;) {
    signal?.throwIfAborted();
    const expired = await queryExpiredNars(options.database.read, cache.id, { now, limit: BATCH });
    const deleted = await deleteNars(options, cache, { narHashes: expired, now });
    total.nars += deleted.nars;
    total.bytes += deleted.bytes;
    // Others may hold the rest; the next round finds them again.
    if (expired.length < BATCH || deleted.nars === 0) return total;
  }
}

async function deleteNars(
  { database, storage, leases, logger }: ExpiredNarsOptions,
  cache: Cache,
  { narHashes, now }: { readonly narHashes: readonly string[]; readonly now: number },
): Promise<DeletedNars> {
  if (narHashes.length === 0) return { nars: 0, bytes: 0 };
  await using lease = await leases.tryTakeSome(
    cache.id,
    narHashes.map((narHash) => `nar/${narHash}`),
  );
  const candidates = narHashes.filter((narHash) => lease.objects.has(`nar/${narHash}`));
  const gone = await transact(database, (db) => removeNars(db, cache, { narHashes: candidates, now }));
  try {
    if (gone.length > 0)
      await storage.delete(
        gone.map((nar) => narKey(cache.name, nar)),
        { signal: AbortSignal.timeout(leases.times.duration / 2) },
      );
    await lease.release();
  } catch (error) {
    // The leases lapse, and what is left in the bucket goes then.
    logger.warn({ cache: cache.name, err: error }, 'cannot delete NARs yet');
  }
  return { nars: gone.length, bytes: gone.reduce((sum, nar) => sum + nar.file_size, 0) };
}

async function removeNars(
  db: Transaction<Schema>,
  cache: Cache,
  { narHashes, now }: { readonly narHashes: readonly string[]; readonly now: number },
): Promise<readonly Pick<NarRow, 'nar_hash' | 'file_size' | 'file'>[]> {
  if (narHashes.length === 0) return [];
  const select = db
    .selectFrom('nars')
    .select(['nar_hash', 'nar_size', 'file_size', 'file'])
    .where('cache_id', '=', cache.id)
    .where('nar_hash', 'in', narHashes)
    .where('expires_at', '<', now)
    .orderBy('nar_hash');
  const locked = await (isPostgres(db) ? select.forUpdate() : select).execute();
  // A path with it means that its time was set in vain; the row says when it ends, and this is worth a second look.
  const used = await queryUsed(
    db,
    cache.id,
    locked.map((nar) => nar.nar_hash),
  );
  const gone = locked.filter((nar) => !used.has(nar.nar_hash));
  const hashes = gone.map((nar) => nar.nar_hash);
  await inBatches(hashes, async (batch) => {
    for (const table of ['nar_files', 'nar_facts', 'nars'] as const)
      await db.deleteFrom(table).where('cache_id', '=', cache.id).where('nar_hash', 'in', batch).execute();
    return [];
  });
  await deleteWithdrawnPaths(db, cache.id, { column: 'nar_hash', values: hashes });
  const bytes = gone.reduce((sum, nar) => sum + nar.file_size, 0);
  const unpacked = gone.reduce((sum, nar) => sum + nar.nar_size, 0);
  await addUsage(db, cache.id, { nars: -gone.length, nar_bytes: -bytes, unpacked_bytes: -unpacked });
  return gone;
}

async function queryUsed(
  db: Transaction<Schema>,
  cacheId: number,
  narHashes: readonly string[],
): Promise<Set<string>> {
  const rows = await inBatches(narHashes, (batch) =>
    db
      .selectFrom('paths')
      .select('nar_hash')
      .distinct()
      .where('cache_id', '=', cacheId)
      .where('nar_hash', 'in', batch)
      .execute(),
  );
  return new Set(rows.map((row) => row.nar_hash));
}
