import type { Kysely } from 'kysely';

/** Deltas between NARs. */
export function deltas(): { up(db: Kysely<unknown>): Promise<void> } {
  return {
    async up(db) {
      await db.schema
        .createTable('deltas')
        .addColumn('cache_id', 'integer', (column) => column.notNull().references('caches.id'))
        .addColumn('base_hash', 'text', (column) => column.notNull())
        .addColumn('nar_hash', 'text', (column) => column.notNull())
        .addColumn('size', 'bigint')
        .addColumn('created_at', 'bigint', (column) => column.notNull())
        .addColumn('used_at', 'bigint', (column) => column.notNull())
        .addPrimaryKeyConstraint('deltas_key', ['cache_id', 'nar_hash', 'base_hash'])
        .execute();
      await db.schema.createIndex('deltas_by_use').on('deltas').columns(['cache_id', 'used_at']).execute();
    },
  };
}
