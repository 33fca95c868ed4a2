import type { Kysely } from 'kysely';

/** Pins, their revisions, and the paths of each. */
export function pins(): { up(db: Kysely<unknown>): Promise<void> } {
  return {
    async up(db) {
      await db.schema
        .createTable('pins')
        .addColumn('cache_id', 'integer', (column) => column.notNull().references('caches.id'))
        .addColumn('name', 'text', (column) => column.notNull())
        .addColumn('keep_last', 'integer')
        .addColumn('keep_for', 'bigint')
        .addColumn('created_at', 'bigint', (column) => column.notNull())
        .addPrimaryKeyConstraint('pins_key', ['cache_id', 'name'])
        .execute();
      await db.schema
        .createTable('pin_revisions')
        .addColumn('cache_id', 'integer', (column) => column.notNull().references('caches.id'))
        .addColumn('pin', 'text', (column) => column.notNull())
        .addColumn('revision', 'integer', (column) => column.notNull())
        .addColumn('created_at', 'bigint', (column) => column.notNull())
        .addColumn('created_by', 'text')
        .addColumn('kept', 'integer', (column) => column.notNull())
        .addPrimaryKeyConstraint('pin_revisions_key', ['cache_id', 'pin', 'revision'])
        .execute();
      await db.schema
        .createTable('pin_paths')
        .addColumn('cache_id', 'integer', (column) => column.notNull().references('caches.id'))
        .addColumn('pin', 'text', (column) => column.notNull())
        .addColumn('revision', 'integer', (column) => column.notNull())
        .addColumn('hash_part', 'text', (column) => column.notNull())
        .addColumn('name', 'text', (column) => column.notNull())
        .addPrimaryKeyConstraint('pin_paths_key', ['cache_id', 'pin', 'revision', 'hash_part'])
        .execute();
      await db.schema
        .createIndex('pin_paths_by_path')
        .on('pin_paths')
        .columns(['cache_id', 'hash_part'])
        .execute();
    },
  };
}
