import type { Kysely, Selectable, Transaction } from 'kysely';
import { inBatches } from '../batches.js';
import type { Database } from '../database.js';
import { isPostgres } from '../dialect.js';
import type { Schema } from '../schema.js';
import { transact } from '../transaction.js';

/** The store paths a cache serves. */
export interface PathsTable {
  cache_id: number;
  /** The 32 characters narinfos are found by. */
  hash_part: string;
  /** What follows them in the base name. */
  name: string;
  nar_hash: string;
  nar_size: number;
  deriver: string | null;
  ca: string | null;
  /** The narinfo as it is in the bucket, ready to be sent. */
  narinfo: string;
  created_at: number;
  /** When a client last pushed it, whether it was there or not. */
  pushed_at: number;
  /** When it was last pushed or fetched; only as precise as `PathUse` is. */
  last_used_at: number;
}

export type PathRow = Selectable<PathsTable>;

/** The narinfo of the path with this hash part. */
export async function queryNarInfoText(
  db: Kysely<Schema>,
  cacheId: number,
  hashPart: string,
): Promise<string | undefined> {
  const row = await db
    .selectFrom('paths')
    .select('narinfo')
    .where('cache_id', '=', cacheId)
    .where('hash_part', '=', hashPart)
    .executeTakeFirst();
  return row?.narinfo;
}

/** The narinfos of those of `hashParts` that the cache serves. */
export async function queryNarInfoTexts(
  db: Kysely<Schema>,
  cacheId: number,
  hashParts: readonly string[],
): Promise<string[]> {
  const rows = await inBatches(hashParts, (batch) =>
    db
      .selectFrom('paths')
      .select('narinfo')
      .where('cache_id', '=', cacheId)
      .where('hash_part', 'in', batch)
      .execute(),
  );
  return rows.map((row) => row.narinfo);
}

/** Those of `hashParts` that the cache serves, by hash part. */
export async function queryPaths(
  db: Kysely<Schema>,
  cacheId: number,
  hashParts: readonly string[],
): Promise<Map<string, PathRow>> {
  const rows = await inBatches(hashParts, (batch) =>
    db
      .selectFrom('paths')
      .selectAll()
      .where('cache_id', '=', cacheId)
      .where('hash_part', 'in', batch)
      .execute(),
  );
  return new Map(rows.map((row) => [row.hash_part, row]));
}

/** The names of those of `hashParts` that the cache serves: cheaper than the rows. */
export async function queryPathNames(
  db: Kysely<Schema>,
  cacheId: number,
  hashParts: readonly string[],
): Promise<Map<string, string>> {
  const rows = await inBatches(hashParts, (batch) =>
    db
      .selectFrom('paths')
      .select(['hash_part', 'name'])
      .where('cache_id', '=', cacheId)
      .where('hash_part', 'in', batch)
      .execute(),
  );
  return new Map(rows.map((row) => [row.hash_part, row.name]));
}

/**
 * The names of those of `hashParts` that the cache serves; they cannot be withdrawn before this transaction ends. (On SQLite
 * one transaction writes at a time anyway.)
 */
export async function lockPaths(
  db: Transaction<Schema>,
  cacheId: number,
  hashParts: readonly string[],
): Promise<Map<string, string>> {
  // Locked in one order by all, so that two never wait for each other.
  const rows = await inBatches([...new Set(hashParts)].sort(), (batch) => {
    const select = db
      .selectFrom('paths')
      .select(['hash_part', 'name'])
      .where('cache_id', '=', cacheId)
      .where('hash_part', 'in', batch)
      .orderBy('hash_part');
    return (isPostgres(db) ? select.forKeyShare() : select).execute();
  });
  return new Map(rows.map((row) => [row.hash_part, row.name]));
}

/** Whether the row was new: another replica may have published the path meanwhile. */
export async function insertPath(db: Kysely<Schema>, path: PathRow): Promise<boolean> {
  const inserted = await db
    .insertInto('paths')
    .values(path)
    .onConflict((conflict) => conflict.columns(['cache_id', 'hash_part']).doNothing())
    .executeTakeFirst();
  return Number(inserted.numInsertedOrUpdatedRows ?? 0) > 0;
}

export async function updateNarInfoText(
  db: Kysely<Schema>,
  path: { readonly cacheId: number; readonly hashPart: string },
  narinfo: string,
): Promise<void> {
  await db
    .updateTable('paths')
    .set({ narinfo })
    .where('cache_id', '=', path.cacheId)
    .where('hash_part', '=', path.hashPart)
    .execute();
}

/**
 * Notes that paths were used, where that was last noted before `before`; or pushed, whenever they were used.
 * @returns how many were noted
 */
export async function touchPaths(
  database: Database,
  cacheId: number,
  use: {
    /** Sorted, so that two replicas never wait for each other. */
    readonly hashParts: readonly string[];
    readonly now: number;
    readonly before: number;
    readonly pushed?: boolean;
  },
): Promise<number> {
  const noted = await inBatches(use.hashParts, (batch) =>
    transact(database, async (db) => {
      let stale = db
        .selectFrom('paths')
        .select('hash_part')
        .where('cache_id', '=', cacheId)
        .where('hash_part', 'in', batch)
        .orderBy('hash_part');
      if (use.pushed !== true) stale = stale.where('last_used_at', '<', use.before);
      const rows = await (isPostgres(db) ? stale.forNoKeyUpdate() : stale).execute();
      if (rows.length === 0) return [];
      await db
        .updateTable('paths')
        .set({ last_used_at: use.now, ...(use.pushed === true ? { pushed_at: use.now } : {}) })
        .where('cache_id', '=', cacheId)
        .where(
          'hash_part',
          'in',
          rows.map((row) => row.hash_part),
        )
        .execute();
      return rows;
    }),
  );
  return noted.length;
}

export async function countPaths(db: Kysely<Schema>, cacheId: number): Promise<number> {
  const { count } = await db
    .selectFrom('paths')
    .select((query) => query.fn.countAll().as('count'))
    .where('cache_id', '=', cacheId)
    .executeTakeFirstOrThrow();
  return Number(count);
}

/**
 * Takes out the paths that refer to something the cache does not have, and then those that refer to them, and so on; gives how
 * many. Only a bucket that lost objects has such.
 */
export async function deleteDanglingPaths(db: Kysely<Schema>, cacheId: number): Promise<number> {
  let total = 0;
  for (;;) {
    const dangling = await db
      .selectFrom('path_references as reference')
      .leftJoin('paths as target', (join) =>
        join
          .onRef('target.cache_id', '=', 'reference.cache_id')
          .onRef('target.hash_part', '=', 'reference.reference'),
      )
      .select('reference.hash_part')
      .distinct()
      .where('reference.cache_id', '=', cacheId)
      .where('target.hash_part', 'is', null)
      .execute();
    if (dangling.length === 0) return total;
    const hashParts = dangling.map((row) => row.hash_part);
    await inBatches(hashParts, async (batch) => {
      for (const table of ['path_references', 'paths'] as const)
        await db.deleteFrom(table).where('cache_id', '=', cacheId).where('hash_part', 'in', batch).execute();
      return [];
    });
    total += hashParts.length;
  }
}
