import type { Cache } from '../caches/cache.js';
import { settleObject } from '../collect/lapsed.js';
import { leaseOf } from '../collect/withdraw.js';
import { inBatches } from '../database/batches.js';
import { recountUsage } from '../database/tables/cache-usage.js';
import { queryNar } from '../database/tables/nars.js';
import { transact } from '../database/transaction.js';
import { Leases } from '../leases/leases.js';
import { NarReader } from '../nars/nar-reader.js';
import { narObject } from '../nars/nar-store.js';
import { reindexCache } from '../reindex.js';
import type { Foundation } from '../start.js';
import { narKey, objectKeys } from '../storage/object-key.js';
import { openDeltaMaker } from './check-deltas.js';
import { checkNar } from './check-nar.js';
import type { Fault, FaultKind } from './fsck.js';
import { queryDangling } from './fsck-queries.js';
import { dropDelta, dropSideFile } from './repair-beside.js';

/**
 * Makes bucket and database agree again. Nothing is made up: a path whose NAR is gone or damaged goes, with what refers to it,
 * so that it can be pushed again; a narinfo that only the bucket has is taken in if it is sound, and goes if it is not; one that
 * only the database has is written. What is kept beside paths and NARs goes if it is not sound, or names what is not there.
 */
export async function repairCache(
  foundation: Foundation,
  cache: Cache,
  faults: readonly Fault[],
): Promise<void> {
  const of = (...kinds: readonly FaultKind[]): string[] => [
    ...new Set(faults.filter(({ kind }) => kinds.includes(kind)).map(({ name }) => name)),
  ];
  await using reader = new NarReader({ level: 1, maxSize: foundation.config.limits.nar });
  const repair = new Repair(foundation, cache, reader);
  for (const narHash of of('nar-missing', 'nar-damaged')) await repair.dropNar(narHash);
  const unrecorded = of('narinfo-unrecorded');
  if (unrecorded.length > 0) await reindexCache(foundation, cache);
  for (const key of [...unrecorded, ...of('listing-unrecorded')]) await repair.settlePath(key);
  for (const hashPart of of('narinfo-missing', 'narinfo-differs')) await repair.settle(leaseOf(hashPart));
  await repair.dropDangling();
  for (const key of of('nar-unrecorded')) await repair.dropObject(key);
  // After all that may take paths and NARs away.
  await using maker = openDeltaMaker(foundation);
  for (const key of of('delta-missing', 'delta-wrong', 'delta-unrecorded'))
    await dropDelta(foundation, cache, { key, maker });
  for (const key of of('debug-link-dangling', 'realisation-dangling'))
    await dropSideFile(foundation, cache, key);
  const { nar_lease: narLease } = foundation.config.collection;
  await recountUsage(foundation.database.write, cache.id, Date.now() + narLease);
}

class Repair {
  readonly #foundation: Foundation;
  readonly #cache: Cache;
  readonly #leases: Leases;
  readonly #reader: NarReader;

  constructor(foundation: Foundation, cache: Cache, reader: NarReader) {
    this.#foundation = foundation;
    this.#cache = cache;
    this.#leases = new Leases(foundation.database);
    this.#reader = reader;
  }

  /** Lets go of a NAR that is not what it should be, and of the paths that have it; not of one that came back meanwhile. */
  async dropNar(narHash: string): Promise<void> {
    const { database, storage } = this.#foundation;
    const { id, name } = this.#cache;
    await using lease = await this.#leases.take(id, [narObject(narHash)]);
    const row = await queryNar(database.write, id, narHash);
    const key = row === undefined ? objectKeys.nar(name, narHash) : narKey(name, row);
    if (row !== undefined && (await checkNar(storage, { key, row }, this.#reader)) === undefined)
      return await lease.release();
    const paths = await database.write
      .selectFrom('paths')
      .select('hash_part')
      .where('cache_id', '=', id)
      .where('nar_hash', '=', narHash)
      .execute();
    await this.#dropPaths(paths.map((path) => path.hash_part));
    await transact(database, async (db) => {
      for (const table of ['nar_files', 'nar_facts', 'withdrawn_paths', 'nars'] as const)
        await db.deleteFrom(table).where('cache_id', '=', id).where('nar_hash', '=', narHash).execute();
    });
    await storage.delete([key]);
    await lease.release();
  }

  /** Paths go that refer to what is not there, and then those that referred to them. */
  async dropDangling(): Promise<void> {
    if ((this.#cache.options.upstreams ?? []).length > 0) return;
    for (;;) {
      const dangling = await queryDangling(this.#foundation.database.write, this.#cache.id);
      if (dangling.length === 0) return;
      await this.#dropPaths([...new Set(dangling.map((row) => row.hash_part))]);
    }
  }

  /** What the database does not know by now of a narinfo or listing in the bucket is not sound. */
  async settlePath(key: string): Promise<void> {
    const hashPart = /\/([0-9a-z]{32})\.(?:narinfo|ls)$/.exec(key)?.[1];
    if (hashPart === undefined) await this.#foundation.storage.delete([key]);
    else await this.settle(leaseOf(hashPart));
  }

  /** Makes an object of the bucket what the database says. */
  async settle(object: string): Promise<void> {
    await using lease = await this.#leases.take(this.#cache.id, [object]);
    await settleObject(this.#foundation, this.#cache, object);
    await lease.release();
  }

  /** Deletes a NAR that nobody recorded, unless somebody did meanwhile. */
  async dropObject(key: string): Promise<void> {
    const { database, storage } = this.#foundation;
    const narHash = /\/nar\/([0-9a-z]{52})\.nar\.zst$/.exec(key)?.[1];
    if (narHash !== undefined && objectKeys.nar(this.#cache.name, narHash) === key)
      return this.settle(narObject(narHash));
    const file = key.slice(this.#cache.name.length + 1);
    const used = await database.write
      .selectFrom('nars')
      .select('nar_hash')
      .where('cache_id', '=', this.#cache.id)
      .where('file', '=', file)
      .executeTakeFirst();
    if (used === undefined) await storage.delete([key]);
  }

  async #dropPaths(hashParts: readonly string[]): Promise<void> {
    if (hashParts.length === 0) return;
    const { database, storage } = this.#foundation;
    const { id, name } = this.#cache;
    await using lease = await this.#leases.take(id, hashParts.map(leaseOf));
    await transact(database, async (db) => {
      await inBatches(hashParts, async (batch) => {
        for (const table of ['path_references', 'paths'] as const)
          await db.deleteFrom(table).where('cache_id', '=', id).where('hash_part', 'in', batch).execute();
        return [];
      });
    });
    await storage.delete(
      hashParts.flatMap((hashPart) => [
        objectKeys.narInfo(name, hashPart),
        objectKeys.listing(name, hashPart),
      ]),
    );
    await lease.release();
  }
}
