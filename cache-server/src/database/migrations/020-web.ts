import { type Kysely, sql } from 'kysely';
import type { Dialect } from '../database.js';
import type { Schema } from '../schema.js';
import { insertNameParts } from '../tables/name-parts.js';

/** What the web pages need: paths found by parts of their names and by age, and usage by day. */
export function web(dialect: Dialect): { up(db: Kysely<unknown>): Promise<void> } {
  // Ranges of a prefix need the order of bytes, whatever the database's own collation is.
  const bytes = dialect === 'sqlite' ? sql`text` : sql`text collate "C"`;

  async function names(db: Kysely<unknown>): Promise<void> {
    await db.schema
      .createTable('name_parts')
      .addColumn('cache_id', 'integer', (column) => column.notNull())
      .addColumn('part', bytes, (column) => column.notNull())
      .addColumn('name', bytes, (column) => column.notNull())
      .addPrimaryKeyConstraint('name_parts_key', ['cache_id', 'part', 'name'])
      .execute();
    await db.schema
      .createIndex('paths_by_name')
      .on('paths')
      .columns(['cache_id', 'name', 'hash_part'])
      .execute();
    await db.schema.createIndex('paths_by_age').on('paths').columns(['cache_id', 'created_at']).execute();
  }

  async function usage(db: Kysely<unknown>): Promise<void> {
    let table = db.schema
      .createTable('usage_days')
      .addColumn('cache_id', 'integer', (column) => column.notNull())
      .addColumn('day', 'text', (column) => column.notNull());
    for (const name of ['lookups', 'hits', 'nars', 'bytes_sent', 'uploads', 'bytes_received'])
      table = table.addColumn(name, 'bigint', (column) => column.notNull().defaultTo(0));
    await table.addPrimaryKeyConstraint('usage_days_key', ['cache_id', 'day']).execute();
  }

  return {
    async up(db) {
      await names(db);
      await usage(db);
      await indexNames(db as Kysely<Schema>);
    },
  };
}

const BATCH = 1000;

/** The names of the paths that are there already. */
async function indexNames(db: Kysely<Schema>): Promise<void> {
  const caches = await db.selectFrom('caches').select('id').execute();
  for (const { id } of caches) {
    let after = '';
    for (;;) {
      const rows = await db
        .selectFrom('paths')
        .select('name')
        .distinct()
        .where('cache_id', '=', id)
        .where('name', '>', after)
        .orderBy('name')
        .limit(BATCH)
        .execute();
      const last = rows.at(-1);
      if (last === undefined) break;
      await insertNameParts(
        db,
        id,
        rows.map(({ name }) => name),
      );
      after = last.name;
    }
  }
}
