import { type Compression, parseCompression } from '@larder/signing/compression';
import type { Generated, Insertable, Kysely, Selectable } from 'kysely';
import { inBatches } from '../batches.js';
import type { Schema } from '../schema.js';

/** NARs that are in the storage: verified, under `nar/<nar_hash>.nar.zst`, or as another tool left them. */
export interface NarsTable {
  cache_id: number;
  nar_hash: string;
  /** Bytes, uncompressed. */
  nar_size: number;
  /** Of the stored, compressed file. */
  file_hash: string;
  file_size: number;
  created_at: number;
  /** When it may be deleted; null while a path has it. */
  expires_at: number | null;
  /** Where it is instead, relative to the cache: `nar/<file hash>.nar.xz`; null for our own place and form. */
  file: Generated<string | null>;
  /** How it is compressed there. */
  compression: Generated<string | null>;
}

export type NarRow = Selectable<NarsTable>;

/** How a NAR is compressed where it is kept. */
export function narCompression({ compression }: Pick<NarRow, 'compression'>): Compression {
  return compression === null ? 'zstd' : parseCompression(compression);
}

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

/** The NAR in any one of these caches that keeps it in our own form. */
export async function queryNarAmong(
  db: Kysely<Schema>,
  cacheIds: readonly number[],
  narHash: string,
): Promise<NarRow | undefined> {
  if (cacheIds.length === 0) return undefined;
  return db
    .selectFrom('nars')
    .selectAll()
    .where('cache_id', 'in', cacheIds)
    .where('nar_hash', '=', narHash)
    .where('file', 'is', null)
    .limit(1)
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

/**
 * Records a stored NAR. Another upload of it may have come first: the row that stays is as good.
 * @returns whether it was new
 */
export async function insertNar(db: Kysely<Schema>, nar: Insertable<NarsTable>): Promise<boolean> {
  const inserted = await db
    .insertInto('nars')
    .values(nar)
    .onConflict((conflict) => conflict.columns(['cache_id', 'nar_hash']).doNothing())
    .executeTakeFirst();
  return Number(inserted.numInsertedOrUpdatedRows ?? 0) > 0;
}

/** Says that paths have these NARs; gives those that are there, which stay at least until the transaction ends. */
export async function claimNars(
  db: Kysely<Schema>,
  cacheId: number,
  narHashes: readonly string[],
): Promise<Set<string>> {
  const rows = await inBatches([...new Set(narHashes)].sort(), (batch) =>
    db
      .updateTable('nars')
      .set({ expires_at: null })
      .where('cache_id', '=', cacheId)
      .where('nar_hash', 'in', batch)
      .returning('nar_hash')
      .execute(),
  );
  return new Set(rows.map((row) => row.nar_hash));
}

/** Lets a NAR that no path has stay until `expiresAt` at least. */
export async function prolongNar(
  db: Kysely<Schema>,
  cacheId: number,
  { narHash, expiresAt }: { readonly narHash: string; readonly expiresAt: number },
): Promise<void> {
  await db
    .updateTable('nars')
    .set({ expires_at: expiresAt })
    .where('cache_id', '=', cacheId)
    .where('nar_hash', '=', narHash)
    .where('expires_at', '<', expiresAt)
    .execute();
}

/** Sets the time for those of these NARs that no path has any more. */
export async function expireNars(
  db: Kysely<Schema>,
  cacheId: number,
  { narHashes, expiresAt }: { readonly narHashes: readonly string[]; readonly expiresAt: number },
): Promise<void> {
  await inBatches([...narHashes].sort(), async (batch) => {
    await db
      .updateTable('nars')
      .set({ expires_at: expiresAt })
      .where('cache_id', '=', cacheId)
      .where('nar_hash', 'in', batch)
      .where(({ not, exists, selectFrom }) =>
        not(
          exists(
            selectFrom('paths')
              .select('paths.hash_part')
              .whereRef('paths.cache_id', '=', 'nars.cache_id')
              .whereRef('paths.nar_hash', '=', 'nars.nar_hash'),
          ),
        ),
      )
      .execute();
    return [];
  });
}

/** NARs whose time is up, the oldest first. */
export async function queryExpiredNars(
  db: Kysely<Schema>,
  cacheId: number,
  { now, limit }: { readonly now: number; readonly limit: number },
): Promise<string[]> {
  const rows = await db
    .selectFrom('nars')
    .select('nar_hash')
    .where('cache_id', '=', cacheId)
    .where('expires_at', '<', now)
    .orderBy('expires_at')
    .limit(limit)
    .execute();
  return rows.map((row) => row.nar_hash);
}

/** Bytes of the NARs that no path has. */
export async function querySpareBytes(db: Kysely<Schema>, cacheId: number): Promise<number> {
  const { bytes } = await db
    .selectFrom('nars')
    .select((query) => query.fn.sum<number | null>('file_size').as('bytes'))
    .where('cache_id', '=', cacheId)
    .where('expires_at', 'is not', null)
    .executeTakeFirstOrThrow();
  return Number(bytes ?? 0);
}
