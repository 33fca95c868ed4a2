import { type CreateTableBuilder, type Kysely, sql } from 'kysely';
import type { Dialect } from '../database.js';

/** The first layout. Migrations are never changed once released; a change is a new file. */
export function initial(dialect: Dialect): { up(db: Kysely<unknown>): Promise<void> } {
  const bytes = dialect === 'sqlite' ? sql`blob` : sql`bytea`;
  const serial = <T extends string>(table: CreateTableBuilder<T>) =>
    dialect === 'sqlite'
      ? table.addColumn('id', 'integer', (id) => id.primaryKey().autoIncrement())
      : table.addColumn('id', 'serial', (id) => id.primaryKey());

  async function caches(db: Kysely<unknown>): Promise<void> {
    await serial(db.schema.createTable('caches'))
      .addColumn('name', 'text', (name) => name.notNull().unique())
      .addColumn('public', 'integer', (column) => column.notNull())
      .addColumn('priority', 'integer', (column) => column.notNull())
      .addColumn('store_dir', 'text', (column) => column.notNull())
      .addColumn('created_at', 'bigint', (column) => column.notNull())
      .execute();
    await serial(db.schema.createTable('signing_keys'))
      .addColumn('cache_id', 'integer', (column) => column.notNull().references('caches.id'))
      .addColumn('name', 'text', (column) => column.notNull())
      .addColumn('public_key', 'text', (column) => column.notNull())
      .addColumn('sealed_secret', bytes, (column) => column.notNull())
      .addColumn('active', 'integer', (column) => column.notNull())
      .addColumn('created_at', 'bigint', (column) => column.notNull())
      .addUniqueConstraint('signing_keys_by_name', ['cache_id', 'name'])
      .execute();
    await serial(db.schema.createTable('tokens'))
      .addColumn('name', 'text', (column) => column.notNull())
      .addColumn('token_hash', 'text', (column) => column.notNull().unique())
      .addColumn('caches', 'text', (column) => column.notNull())
      .addColumn('scopes', 'text', (column) => column.notNull())
      .addColumn('created_at', 'bigint', (column) => column.notNull())
      .addColumn('expires_at', 'bigint')
      .addColumn('revoked_at', 'bigint')
      .addColumn('last_used_at', 'bigint')
      .execute();
  }

  async function nars(db: Kysely<unknown>): Promise<void> {
    await db.schema
      .createTable('nars')
      .addColumn('cache_id', 'integer', (column) => column.notNull().references('caches.id'))
      .addColumn('nar_hash', 'text', (column) => column.notNull())
      .addColumn('nar_size', 'bigint', (column) => column.notNull())
      .addColumn('file_hash', 'text', (column) => column.notNull())
      .addColumn('file_size', 'bigint', (column) => column.notNull())
      .addColumn('created_at', 'bigint', (column) => column.notNull())
      .addPrimaryKeyConstraint('nars_key', ['cache_id', 'nar_hash'])
      .execute();
    await db.schema
      .createTable('nar_files')
      .addColumn('cache_id', 'integer', (column) => column.notNull().references('caches.id'))
      .addColumn('file_name', 'text', (column) => column.notNull())
      .addColumn('nar_hash', 'text', (column) => column.notNull())
      .addPrimaryKeyConstraint('nar_files_key', ['cache_id', 'file_name'])
      .execute();
    await db.schema
      .createTable('nar_facts')
      .addColumn('cache_id', 'integer', (column) => column.notNull().references('caches.id'))
      .addColumn('nar_hash', 'text', (column) => column.notNull())
      .addColumn('hash_parts', bytes)
      .addColumn('listing', bytes)
      .addPrimaryKeyConstraint('nar_facts_key', ['cache_id', 'nar_hash'])
      .execute();
    await db.schema
      .createTable('debug_links')
      .addColumn('cache_id', 'integer', (column) => column.notNull().references('caches.id'))
      .addColumn('build_id', 'text', (column) => column.notNull())
      .addColumn('file_name', 'text', (column) => column.notNull())
      .addColumn('member', 'text', (column) => column.notNull())
      .addPrimaryKeyConstraint('debug_links_key', ['cache_id', 'build_id'])
      .execute();
    await db.schema
      .createIndex('debug_links_by_file')
      .on('debug_links')
      .columns(['cache_id', 'file_name'])
      .execute();
  }

  async function paths(db: Kysely<unknown>): Promise<void> {
    await db.schema
      .createTable('paths')
      .addColumn('cache_id', 'integer', (column) => column.notNull().references('caches.id'))
      .addColumn('hash_part', 'text', (column) => column.notNull())
      .addColumn('name', 'text', (column) => column.notNull())
      .addColumn('nar_hash', 'text', (column) => column.notNull())
      .addColumn('nar_size', 'bigint', (column) => column.notNull())
      .addColumn('deriver', 'text')
      .addColumn('ca', 'text')
      .addColumn('narinfo', 'text', (column) => column.notNull())
      .addColumn('created_at', 'bigint', (column) => column.notNull())
      .addPrimaryKeyConstraint('paths_key', ['cache_id', 'hash_part'])
      .execute();
    await db.schema.createIndex('paths_by_nar').on('paths').columns(['cache_id', 'nar_hash']).execute();
    await db.schema
      .createTable('path_references')
      .addColumn('cache_id', 'integer', (column) => column.notNull().references('caches.id'))
      .addColumn('hash_part', 'text', (column) => column.notNull())
      .addColumn('reference', 'text', (column) => column.notNull())
      .addPrimaryKeyConstraint('path_references_key', ['cache_id', 'hash_part', 'reference'])
      .execute();
    await db.schema
      .createIndex('path_references_by_reference')
      .on('path_references')
      .columns(['cache_id', 'reference'])
      .execute();
  }

  async function pending(db: Kysely<unknown>): Promise<void> {
    await db.schema
      .createTable('pending_paths')
      .addColumn('cache_id', 'integer', (column) => column.notNull().references('caches.id'))
      .addColumn('hash_part', 'text', (column) => column.notNull())
      .addColumn('narinfo', 'text', (column) => column.notNull())
      .addColumn('created_at', 'bigint', (column) => column.notNull())
      .addPrimaryKeyConstraint('pending_paths_key', ['cache_id', 'hash_part'])
      .execute();
    await db.schema
      .createTable('pending_needs')
      .addColumn('cache_id', 'integer', (column) => column.notNull().references('caches.id'))
      .addColumn('hash_part', 'text', (column) => column.notNull())
      .addColumn('need', 'text', (column) => column.notNull())
      .addPrimaryKeyConstraint('pending_needs_key', ['cache_id', 'hash_part', 'need'])
      .execute();
    await db.schema
      .createIndex('pending_needs_by_need')
      .on('pending_needs')
      .columns(['cache_id', 'need'])
      .execute();
  }

  return {
    async up(db) {
      await caches(db);
      await nars(db);
      await paths(db);
      await pending(db);
    },
  };
}
