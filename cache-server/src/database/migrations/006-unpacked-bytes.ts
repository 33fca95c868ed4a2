import { type Kysely, sql } from 'kysely';

/** Counts what a cache's NARs have unpacked, beside what they take: pages show it, and a sum over all of them takes its time. */
export function unpackedBytes(): { up(db: Kysely<unknown>): Promise<void> } {
  return {
    async up(db) {
      await db.schema
        .alterTable('cache_usage')
        .addColumn('unpacked_bytes', 'bigint', (column) => column.notNull().defaultTo(0))
        .execute();
      await sql`update cache_usage set unpacked_bytes =
        (select coalesce(sum(nar_size), 0) from nars where nars.cache_id = cache_usage.cache_id)`.execute(db);
    },
  };
}
