import { type CreateTableBuilder, type Kysely, sql } from 'kysely';
import type { Dialect } from '../database.js';

/** When paths and NARs were last needed, and what collections and leases keep of their work. */
export function lifeCycle(dialect: Dialect): { up(db: Kysely<unknown>): Promise<void> } {
  const serial = <T extends string>(table: CreateTableBuilder<T>) =>
    dialect === 'sqlite'
      ? table.addColumn('id', 'integer', (id) => id.primaryKey().autoIncrement())
      : table.addColumn('id', 'serial', (id) => id.primaryKey());

  async function columns(db: Kysely<unknown>): Promise<void> {
    await db.schema
      .alterTable('caches')
      .addColumn('settings', 'text', (column) => column.notNull().defaultTo('{}'))
      .execute();
    for (const name of ['pushed_at', 'last_used_at'])
      await db.schema
        .alterTable('paths')
        .addColumn(name, 'bigint', (column) => column.notNull().defaultTo(0))
        .execute();
    await sql`update paths set pushed_at = created_at, last_used_at = created_at`.execute(db);
    await db.schema
      .createIndex('paths_by_use')
      .on('paths')
      .columns(['cache_id', 'last_used_at', 'hash_part'])
      .execute();
    await db.schema.alterTable('nars').addColumn('expires_at', 'bigint').execute();
    await sql`update nars set expires_at = ${Date.now() + 7 * 86_400_000} where not exists (
      select 1 from paths where paths.cache_id = nars.cache_id and paths.nar_hash = nars.nar_hash)`.execute(
      db,
    );
    await db.schema.createIndex('nars_by_expiry').on('nars').columns(['cache_id', 'expires_at']).execute();
    await db.schema
      .createIndex('nar_files_by_nar')
      .on('nar_files')
      .columns(['cache_id', 'nar_hash'])
      .execute();
  }

  async function tables(db: Kysely<unknown>): Promise<void> {
    await db.schema
      .createTable('cache_usage')
      .addColumn('cache_id', 'integer', (column) => column.primaryKey())
      .addColumn('paths', 'bigint', (column) => column.notNull())
      .addColumn('nars', 'bigint', (column) => column.notNull())
      .addColumn('nar_bytes', 'bigint', (column) => column.notNull())
      .execute();
    await sql`insert into cache_usage (cache_id, paths, nars, nar_bytes)
      select id, (select count(*) from paths where cache_id = caches.id),
        (select count(*) from nars where cache_id = caches.id),
        (select coalesce(sum(file_size), 0) from nars where cache_id = caches.id) from caches`.execute(db);
    await db.schema
      .createTable('withdrawn_paths')
      .addColumn('cache_id', 'integer', (column) => column.notNull())
      .addColumn('hash_part', 'text', (column) => column.notNull())
      .addColumn('nar_hash', 'text', (column) => column.notNull())
      .addColumn('narinfo', 'text', (column) => column.notNull())
      .addColumn('withdrawn_at', 'bigint', (column) => column.notNull())
      .addPrimaryKeyConstraint('withdrawn_paths_key', ['cache_id', 'hash_part'])
      .execute();
    await db.schema
      .createIndex('withdrawn_paths_by_nar')
      .on('withdrawn_paths')
      .columns(['cache_id', 'nar_hash'])
      .execute();
    // No foreign key: leases with cache 0 are the server's.
    await db.schema
      .createTable('leases')
      .addColumn('cache_id', 'integer', (column) => column.notNull())
      .addColumn('object', 'text', (column) => column.notNull())
      .addColumn('holder', 'text', (column) => column.notNull())
      .addColumn('until', 'bigint', (column) => column.notNull())
      .addPrimaryKeyConstraint('leases_key', ['cache_id', 'object'])
      .execute();
    await db.schema.createIndex('leases_by_end').on('leases').columns(['until']).execute();
  }

  async function collections(db: Kysely<unknown>): Promise<void> {
    await serial(db.schema.createTable('collections'))
      .addColumn('cache_id', 'integer', (column) => column.notNull())
      .addColumn('state', 'text', (column) => column.notNull())
      .addColumn('dry_run', 'integer', (column) => column.notNull())
      .addColumn('policy', 'text', (column) => column.notNull())
      .addColumn('cursor', 'text')
      .addColumn('planned_paths', 'bigint', (column) => column.notNull().defaultTo(0))
      .addColumn('planned_bytes', 'bigint', (column) => column.notNull().defaultTo(0))
      .addColumn('withdrawn_paths', 'bigint', (column) => column.notNull().defaultTo(0))
      .addColumn('deleted_nars', 'bigint', (column) => column.notNull().defaultTo(0))
      .addColumn('deleted_bytes', 'bigint', (column) => column.notNull().defaultTo(0))
      .addColumn('started_at', 'bigint', (column) => column.notNull())
      .addColumn('updated_at', 'bigint', (column) => column.notNull())
      .addColumn('finished_at', 'bigint')
      .addColumn('error', 'text')
      .execute();
    await db.schema
      .createIndex('collections_by_cache')
      .on('collections')
      .columns(['cache_id', 'id'])
      .execute();
    await db.schema
      .createTable('collection_plan')
      .addColumn('collection_id', 'integer', (column) => column.notNull())
      .addColumn('seq', 'integer', (column) => column.notNull())
      .addColumn('hash_part', 'text', (column) => column.notNull())
      .addColumn('name', 'text', (column) => column.notNull())
      .addColumn('freed', 'bigint', (column) => column.notNull())
      .addColumn('last_used_at', 'bigint', (column) => column.notNull())
      .addPrimaryKeyConstraint('collection_plan_key', ['collection_id', 'seq'])
      .execute();
    await db.schema
      .createIndex('collection_plan_by_path')
      .unique()
      .on('collection_plan')
      .columns(['collection_id', 'hash_part'])
      .execute();
    await db.schema
      .createTable('collection_counts')
      .addColumn('collection_id', 'integer', (column) => column.notNull())
      .addColumn('object', 'text', (column) => column.notNull())
      .addColumn('remaining', 'integer', (column) => column.notNull())
      .addPrimaryKeyConstraint('collection_counts_key', ['collection_id', 'object'])
      .execute();
  }

  return {
    async up(db) {
      await columns(db);
      await tables(db);
      await collections(db);
    },
  };
}
