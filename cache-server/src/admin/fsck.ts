import type { Cache } from '../caches/cache.js';
import { Limiter } from '../limiter.js';
import { NarReader } from '../nars/nar-reader.js';
import type { Foundation } from '../start.js';
import { narKey, objectKeys } from '../storage/object-key.js';
import { readObject } from '../storage/storage.js';
import { takeInventory } from './bucket-inventory.js';
import { checkNar } from './check-nar.js';
import { checkBeside } from './fsck-beside.js';
import { type PathRecord, queryDangling, readNarRows, readPathRecords } from './fsck-queries.js';
import { repairCache } from './fsck-repair.js';
import { PARALLEL, type Scene } from './fsck-scene.js';

export type FaultKind =
  | 'nar-missing'
  | 'nar-damaged'
  | 'nar-unrecorded'
  | 'narinfo-missing'
  | 'narinfo-differs'
  | 'narinfo-unrecorded'
  | 'reference-missing'
  | 'listing-unrecorded'
  | 'delta-missing'
  | 'delta-wrong'
  | 'delta-unrecorded'
  | 'debug-link-dangling'
  | 'realisation-dangling';

/** Something on which bucket, database and contents do not agree. */
export interface Fault {
  readonly cache: string;
  readonly kind: FaultKind;
  /** NarHash, or the hash part of a path; of what is only in the bucket, or beside paths and NARs, its key. */
  readonly name: string;
  readonly why: string;
}

export interface FsckOptions {
  /** Reads and hashes every NAR, applies every delta, and compares every narinfo and what others name. */
  readonly deep?: boolean;
  readonly repair?: boolean;
  readonly onFault?: (fault: Fault) => void;
}

/** What was looked at in one cache. */
export interface Checked {
  readonly cache: string;
  nars: number;
  paths: number;
  /** Of the NARs, as they are kept. */
  bytes: number;
  readonly faults: Fault[];
  /** Those that are no more, as another look at all but the contents tells. */
  repaired: number;
}

/**
 * Compares the bucket with the database, and with `deep` both with the contents. Safe beside a running server: what is younger
 * than `uploads.orphans` and only in the bucket is an upload under way. Names of a cache's objects are held in memory.
 */
export async function fsck(foundation: Foundation, options: FsckOptions = {}): Promise<Checked[]> {
  const results: Checked[] = [];
  for (const cache of await foundation.caches.list()) {
    const checked = await checkCache(foundation, cache, options);
    if (options.repair === true && checked.faults.length > 0) {
      await repairCache(foundation, cache, checked.faults);
      const { faults: left } = await checkCache(foundation, cache, {});
      checked.repaired = Math.max(0, checked.faults.length - left.length);
    }
    results.push(checked);
  }
  return results;
}

async function checkCache(foundation: Foundation, cache: Cache, options: FsckOptions): Promise<Checked> {
  const checked: Checked = { cache: cache.name, nars: 0, paths: 0, bytes: 0, faults: [], repaired: 0 };
  const report = (kind: FaultKind, name: string, why: string): void => {
    const fault = { cache: cache.name, kind, name, why };
    checked.faults.push(fault);
    options.onFault?.(fault);
  };
  // The bucket first: what comes after that is in the database as well by the time it is asked.
  const bucket = await takeInventory(foundation.storage, cache);
  const scene = { foundation, cache, bucket, checked, report, isDeep: options.deep === true };
  await checkNars(scene);
  await checkPaths(scene);
  await checkRest(scene);
  await checkBeside(scene);
  return checked;
}

async function checkNars({ foundation, cache, bucket, checked, report, isDeep }: Scene): Promise<void> {
  const { database, config, storage } = foundation;
  await using reader = new NarReader({ level: 1, maxSize: config.limits.nar });
  const limiter = new Limiter(PARALLEL);
  for await (const rows of readNarRows(database.read, cache.id)) {
    const compared = rows.map(async (row) => {
      checked.nars++;
      checked.bytes += row.file_size;
      const key = narKey(cache.name, row);
      const size = bucket.nars.get(key)?.size;
      bucket.nars.delete(key);
      const fault = await limiter.run(() =>
        checkNar(storage, { key, row, size }, isDeep ? reader : undefined),
      );
      if (fault !== undefined) report(fault.kind, row.nar_hash, fault.why);
    });
    await Promise.all(compared);
  }
}

async function checkPaths({ foundation, cache, bucket, checked, report, isDeep }: Scene): Promise<void> {
  const { database, storage } = foundation;
  for await (const rows of readPathRecords(database.read, cache.id)) {
    const compared = rows.map(async (row: PathRecord) => {
      checked.paths++;
      const key = objectKeys.narInfo(cache.name, row.hash_part);
      const isThere = bucket.narInfos.delete(key) || (await storage.head(key)) !== undefined;
      bucket.listings.delete(objectKeys.listing(cache.name, row.hash_part));
      const name = `${row.hash_part}-${row.name}`;
      if (row.has_nar === 0) report('nar-missing', row.nar_hash, `${name} has it, and it is not recorded`);
      if (!isThere) report('narinfo-missing', row.hash_part, `${key}, of ${name}, is not there`);
      else if (isDeep && (await readObject(storage, key))?.toString() !== row.narinfo)
        report('narinfo-differs', row.hash_part, `${key}, of ${name}, is not what is served`);
    });
    await Promise.all(compared);
  }
}

/** What only the bucket has, and what paths refer to that nobody has. */
async function checkRest({ foundation, cache, bucket, report }: Scene): Promise<void> {
  const before = Date.now() - foundation.config.uploads.orphans;
  for (const [key, { modified }] of bucket.nars)
    if (modified < before) report('nar-unrecorded', key, `the database does not know ${key}`);
  for (const [key, { modified }] of bucket.narInfos)
    if (modified < before) report('narinfo-unrecorded', key, `the database does not know ${key}`);
  // What the cache does not have, an upstream may.
  if ((cache.options.upstreams ?? []).length > 0) return;
  for (const { hash_part, reference } of await queryDangling(foundation.database.read, cache.id))
    report('reference-missing', hash_part, `${hash_part} refers to ${reference}, which is not there`);
}
