import type { Database } from '../database/database.js';
import { queryUsage } from '../database/tables/cache-usage.js';

export interface CacheStatistics {
  readonly paths: number;
  /** Bytes of all NARs, unpacked and as stored. */
  readonly unpacked: number;
  readonly stored: number;
  /** When the newest path came, milliseconds since the epoch. */
  readonly newest: number | undefined;
}

/** What a cache holds: counted as it changes, so that it costs the same whatever that is. */
export async function queryStatistics({ read }: Database, cacheId: number): Promise<CacheStatistics> {
  const [usage, newest] = await Promise.all([
    queryUsage(read, cacheId),
    read
      .selectFrom('paths')
      .select('created_at')
      .where('cache_id', '=', cacheId)
      .orderBy('created_at', 'desc')
      .limit(1)
      .executeTakeFirst(),
  ]);
  return {
    paths: usage.paths,
    unpacked: usage.unpacked_bytes,
    stored: usage.nar_bytes,
    newest: newest?.created_at,
  };
}
