import type { Cache } from '../caches/cache.js';
import type { Database } from '../database/database.js';
import { queryUsage } from '../database/tables/cache-usage.js';
import { ServerError } from '../errors.js';

/** Whether a cache may hold so many more bytes of NARs. @throws `quota-exceeded` */
export async function checkQuota(database: Database, cache: Cache, added: number): Promise<void> {
  const { quota } = cache.options;
  if (quota === undefined) return;
  const { nar_bytes: held } = await queryUsage(database.write, cache.id);
  if (held + added <= quota && held < quota) return;
  throw new ServerError(
    'quota-exceeded',
    `the cache '${cache.name}' may hold ${quota} bytes of NARs and holds ${held}` +
      `${added === 0 ? '' : `; this one has ${added}`}: raise its quota, or let its retention keep less`,
    { fields: { quota, held, added } },
  );
}
