import type { CreateTableBuilder, Kysely } from 'kysely';
import type { Dialect } from '../database.js';

/** The audit log. */
export function audit(dialect: Dialect): { up(db: Kysely<unknown>): Promise<void> } {
  const serial = <T extends string>(table: CreateTableBuilder<T>) =>
    dialect === 'sqlite'
      ? table.addColumn('id', 'integer', (id) => id.primaryKey().autoIncrement())
      : table.addColumn('id', 'bigserial', (id) => id.primaryKey());
  return {
    async up(db) {
      // No foreign keys: entries outlive what they are about.
      await serial(db.schema.createTable('audit_entries'))
        .addColumn('at', 'bigint', (column) => column.notNull())
        .addColumn('token_id', 'integer')
        .addColumn('token_name', 'text')
        .addColumn('address', 'text')
        .addColumn('cache', 'text')
        .addColumn('action', 'text', (column) => column.notNull())
        .addColumn('target', 'text', (column) => column.notNull())
        .addColumn('status', 'integer', (column) => column.notNull())
        .addColumn('request', 'text', (column) => column.notNull())
        .execute();
      await db.schema
        .createIndex('audit_entries_by_cache')
        .on('audit_entries')
        .columns(['cache', 'id'])
        .execute();
    },
  };
}
