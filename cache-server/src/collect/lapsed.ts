import type { Cache } from '../caches/cache.js';
import type { Database } from '../database/database.js';
import { queryLapsed } from '../database/tables/leases.js';
import { queryNar } from '../database/tables/nars.js';
import { queryNarInfoText } from '../database/tables/paths.js';
import type { Leases } from '../leases/leases.js';
import { objectKeys } from '../storage/object-key.js';
import type { ObjectStorage } from '../storage/storage.js';

/** Looked after in one go. */
const BATCH = 200;

export interface LapsedOptions {
  readonly database: Database;
  readonly storage: ObjectStorage;
  readonly leases: Leases;
  readonly caches: () => Promise<readonly Cache[]>;
}

/**
 * Finishes what holders of leases who died left in the bucket: an object is made what the database says of it. A narinfo that
 * was written but never recorded goes; one that the database has is written again.
 * @returns how many were looked after
 */
export async function settleLapsed(options: LapsedOptions): Promise<number> {
  const { database, leases } = options;
  const caches = new Map((await options.caches()).map((cache) => [cache.id, cache]));
  let settled = 0;
  for (;;) {
    const rows = await queryLapsed(database.read, Date.now() - leases.times.margin, BATCH);
    let here = 0;
    for (const row of rows) {
      const lease = await leases.tryTake(row.cache_id, [row.object]);
      if (lease === undefined) continue;
      await using _ = lease;
      const cache = caches.get(row.cache_id);
      if (cache !== undefined) await settleObject(options, cache, row.object);
      await lease.release();
      here++;
    }
    settled += here;
    if (here === 0 || rows.length < BATCH) return settled;
  }
}

/** Makes an object of the bucket what the database says of it. The caller holds the lease. */
export async function settleObject(
  { database, storage }: Pick<LapsedOptions, 'database' | 'storage'>,
  cache: Cache,
  object: string,
): Promise<void> {
  const [kind, name = ''] = object.split('/');
  if (kind === 'path') {
    const text = await queryNarInfoText(database.write, cache.id, name);
    const key = objectKeys.narInfo(cache.name, name);
    if (text === undefined) await storage.delete([key, objectKeys.listing(cache.name, name)]);
    else await storage.put(key, Buffer.from(text), { contentType: 'text/x-nix-narinfo' });
  } else if (kind === 'nar') {
    if ((await queryNar(database.write, cache.id, name)) === undefined)
      await storage.delete([objectKeys.nar(cache.name, name)]);
  }
}
