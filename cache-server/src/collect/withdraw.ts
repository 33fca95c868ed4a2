import type { Transaction } from 'kysely';
import type { Logger } from 'pino';
import type { Cache } from '../caches/cache.js';
import { inBatches } from '../database/batches.js';
import type { Database } from '../database/database.js';
import { isPostgres } from '../database/dialect.js';
import type { Schema } from '../database/schema.js';
import { addUsage } from '../database/tables/cache-usage.js';
import { expireNars } from '../database/tables/nars.js';
import { queryPinned } from '../database/tables/pins.js';
import { insertWithdrawnPaths } from '../database/tables/withdrawn-paths.js';
import { transact } from '../database/transaction.js';
import type { Leases } from '../leases/leases.js';
import type { NarInfoCache } from '../read/narinfo-cache.js';
import { objectKeys } from '../storage/object-key.js';
import type { ObjectStorage } from '../storage/storage.js';

export interface WithdrawalOptions {
  readonly database: Database;
  readonly storage: ObjectStorage;
  readonly leases: Leases;
  readonly narInfos: NarInfoCache;
  readonly logger: Logger;
  /** How long a NAR outlives the last path it belonged to, in milliseconds: clients remember narinfos. */
  readonly narLease: number;
}

/** Why a path stays. */
export type Kept = 'absent' | 'pinned' | 'referenced' | 'busy' | 'used';

export interface Withdrawn {
  readonly hashParts: readonly string[];
  readonly kept: ReadonlyMap<string, Kept>;
}

/** A path's times, by which a policy still wants it gone. */
export type StillExpired = (path: {
  readonly hash_part: string;
  readonly pushed_at: number;
  readonly last_used_at: number;
}) => boolean;

/** How long a delete may be on the wire, as a part of the lease: it must not land after that is over. */
const WIRE_SHARE = 0.5;

/**
 * Takes paths out of a cache.
 *
 * One transaction locks them, looks whether anything needs them after all, and takes them from view; so no reader ever sees a
 * path without its references, and an upload that refers to one of them either is there before and keeps it, or finds it
 * gone. Only then do narinfo and listing go from the bucket, under leases that were taken before: nobody writes them anew
 * meanwhile, and if this process dies, whoever finds the lapsed leases finishes (`lapsed.ts`). NARs stay for as long as
 * clients may remember the narinfo.
 */
export class Withdrawal {
  readonly #options: WithdrawalOptions;

  constructor(options: WithdrawalOptions) {
    this.#options = options;
  }

  /** @param isStillExpired what the policy says of a path's times now; without it, times do not matter */
  async withdraw(
    cache: Cache,
    hashParts: readonly string[],
    isStillExpired: StillExpired = () => true,
  ): Promise<Withdrawn> {
    const { database, leases, storage, narInfos, narLease, logger } = this.#options;
    const objects = hashParts.map(leaseOf);
    const kept = new Map<string, Kept>();
    await using lease = await leases.tryTakeSome(cache.id, objects);
    for (const hashPart of hashParts) if (!lease.objects.has(leaseOf(hashPart))) kept.set(hashPart, 'busy');
    const candidates = hashParts.filter((hashPart) => !kept.has(hashPart));
    const gone = await transact(database, async (db) => {
      const rows = await decide(db, cache, { candidates, isStillExpired, kept });
      await removePaths(db, cache, { rows, expiresAt: Date.now() + narLease });
      return rows.map((row) => row.hash_part);
    });
    for (const hashPart of gone) narInfos.invalidate(cache.id, hashPart);
    const keys = gone.flatMap((hashPart) => [
      objectKeys.narInfo(cache.name, hashPart),
      objectKeys.listing(cache.name, hashPart),
    ]);
    try {
      if (keys.length > 0)
        await storage.delete(keys, { signal: AbortSignal.timeout(leases.times.duration * WIRE_SHARE) });
      await lease.release();
    } catch (error) {
      // They are withdrawn all the same; the leases lapse, and what is left in the bucket goes then.
      logger.warn({ cache: cache.name, err: error }, 'cannot delete narinfos yet');
    }
    return { hashParts: gone, kept };
  }
}

/** The object that stands for a path's narinfo and listing. */
export function leaseOf(hashPart: string): string {
  return `path/${hashPart}`;
}

interface Decision {
  readonly candidates: readonly string[];
  readonly isStillExpired: StillExpired;
  /** Gets the reason of each that stays. */
  readonly kept: Map<string, Kept>;
}

interface DoomedPath {
  readonly hash_part: string;
  readonly nar_hash: string;
  readonly narinfo: string;
}

async function decide(
  db: Transaction<Schema>,
  cache: Cache,
  { candidates, isStillExpired, kept }: Decision,
): Promise<readonly DoomedPath[]> {
  kept.forEach((why, hashPart) => {
    if (why !== 'busy') kept.delete(hashPart);
  });
  const rows = await lockForRemoval(db, cache.id, candidates);
  const found = new Map(rows.map((row) => [row.hash_part, row]));
  const keep = (hashPart: string, why: Kept): void => {
    kept.set(hashPart, why);
    found.delete(hashPart);
  };
  for (const hashPart of candidates) if (!found.has(hashPart)) keep(hashPart, 'absent');
  for (const row of rows) if (!isStillExpired(row)) keep(row.hash_part, 'used');
  for (const hashPart of await queryPinned(db, cache.id, [...found.keys()])) keep(hashPart, 'pinned');
  // One that stays keeps what it refers to, which in turn keeps…
  for (;;) {
    const referenced = await queryReferencedFromOutside(db, cache.id, [...found.keys()]);
    if (referenced.length === 0) return [...found.values()];
    for (const hashPart of referenced) keep(hashPart, 'referenced');
  }
}

async function lockForRemoval(db: Transaction<Schema>, cacheId: number, hashParts: readonly string[]) {
  return inBatches([...hashParts].sort(), (batch) => {
    const select = db
      .selectFrom('paths')
      .select(['hash_part', 'nar_hash', 'narinfo', 'pushed_at', 'last_used_at'])
      .where('cache_id', '=', cacheId)
      .where('hash_part', 'in', batch)
      .orderBy('hash_part');
    return (isPostgres(db) ? select.forUpdate() : select).execute();
  });
}

/** Those of a set of paths that a path outside of it refers to. */
async function queryReferencedFromOutside(
  db: Transaction<Schema>,
  cacheId: number,
  hashParts: readonly string[],
): Promise<string[]> {
  if (hashParts.length === 0) return [];
  const rows = await db
    .selectFrom('path_references')
    .select('reference')
    .distinct()
    .where('cache_id', '=', cacheId)
    .where('reference', 'in', hashParts)
    .where('hash_part', 'not in', hashParts)
    .execute();
  return rows.map((row) => row.reference);
}

async function removePaths(
  db: Transaction<Schema>,
  cache: Cache,
  { rows, expiresAt }: { readonly rows: readonly DoomedPath[]; readonly expiresAt: number },
): Promise<void> {
  const hashParts = rows.map((row) => row.hash_part);
  await insertWithdrawnPaths(
    db,
    rows.map(({ hash_part, nar_hash, narinfo }) => ({
      cache_id: cache.id,
      hash_part,
      nar_hash,
      narinfo,
      withdrawn_at: Date.now(),
    })),
  );
  await inBatches(hashParts, async (batch) => {
    for (const table of ['path_references', 'paths'] as const)
      await db.deleteFrom(table).where('cache_id', '=', cache.id).where('hash_part', 'in', batch).execute();
    return [];
  });
  await expireNars(db, cache.id, { narHashes: [...new Set(rows.map((row) => row.nar_hash))], expiresAt });
  await addUsage(db, cache.id, { paths: -rows.length });
}
