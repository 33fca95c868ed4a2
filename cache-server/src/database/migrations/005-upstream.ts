import type { Kysely } from 'kysely';

/** What upstreams have that is not stored yet, and signing anew. */
export function upstream(): { up(db: Kysely<unknown>): Promise<void> } {
  return {
    async up(db) {
      await db.schema
        .createTable('upstream_paths')
        .addColumn('cache_id', 'integer', (column) => column.notNull())
        .addColumn('hash_part', 'text', (column) => column.notNull())
        .addColumn('nar_hash', 'text', (column) => column.notNull())
        .addColumn('narinfo', 'text', (column) => column.notNull())
        .addColumn('nar_url', 'text', (column) => column.notNull())
        .addColumn('fetched_at', 'bigint', (column) => column.notNull())
        .addPrimaryKeyConstraint('upstream_paths_key', ['cache_id', 'hash_part'])
        .execute();
      await db.schema
        .createIndex('upstream_paths_by_nar')
        .on('upstream_paths')
        .columns(['cache_id', 'nar_hash'])
        .execute();
      await db.schema
        .createTable('resign_jobs')
        .addColumn('cache_id', 'integer', (column) => column.primaryKey())
        .addColumn('drop_retired', 'integer', (column) => column.notNull())
        .addColumn('cursor', 'text', (column) => column.notNull())
        .addColumn('seen', 'bigint', (column) => column.notNull())
        .addColumn('changed', 'bigint', (column) => column.notNull())
        .addColumn('started_at', 'bigint', (column) => column.notNull())
        .addColumn('finished_at', 'bigint')
        .execute();
    },
  };
}
