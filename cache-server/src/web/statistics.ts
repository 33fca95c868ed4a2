import { sql } from 'kysely';
import type { Database } from '../database/database.js';

export interface CacheStatistics {
  readonly paths: number;
  /** Bytes of all NARs, unpacked and as stored. */
  readonly unpacked: number;
  readonly stored: number;
  /** When the newest path came, milliseconds since the epoch. */
  readonly newest: number | undefined;
}

/** How long sums over a whole cache are taken as read, in milliseconds. */
const FRESH = 60_000;

/** Sums over caches, kept for a while: counting a million rows takes a moment. */
export class Statistics {
  readonly #database: Database;
  readonly #known = new Map<number, { readonly found: Promise<CacheStatistics>; readonly until: number }>();

  constructor(database: Database) {
    this.#database = database;
  }

  of(cacheId: number): Promise<CacheStatistics> {
    const known = this.#known.get(cacheId);
    if (known !== undefined && known.until > Date.now()) return known.found;
    const found = this.#query(cacheId);
    this.#known.set(cacheId, { found, until: Date.now() + FRESH });
    // What failed is asked again.
    found.catch(() => this.#known.delete(cacheId));
    return found;
  }

  async #query(cacheId: number): Promise<CacheStatistics> {
    const { read } = this.#database;
    const [paths, stored] = await Promise.all([
      read
        .selectFrom('paths')
        .select((query) => [query.fn.countAll().as('paths'), query.fn.max('created_at').as('newest')])
        .where('cache_id', '=', cacheId)
        .executeTakeFirstOrThrow(),
      read
        .selectFrom('nars')
        .select([
          sql<number>`coalesce(sum(nar_size), 0)`.as('unpacked'),
          sql<number>`coalesce(sum(file_size), 0)`.as('stored'),
        ])
        .where('cache_id', '=', cacheId)
        .executeTakeFirstOrThrow(),
    ]);
    return {
      paths: Number(paths.paths),
      unpacked: Number(stored.unpacked),
      stored: Number(stored.stored),
      newest: paths.newest === null ? undefined : Number(paths.newest),
    };
  }
}
