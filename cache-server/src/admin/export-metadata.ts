import { createHash } from 'node:crypto';
import { type Kysely, sql } from 'kysely';
import type { KeySeal } from '../caches/key-seal.js';
import type { Schema } from '../database/schema.js';
import type { Foundation } from '../start.js';
import { type DumpLine, packValue } from './dump-lines.js';
import { type DumpedTable, dumpedTables } from './dump-tables.js';

/** Rows read at a time. */
const PAGE = 1000;

/** Takes text of a dump; the next comes when it has resolved. */
export type DumpSink = (text: string) => Promise<void>;

/**
 * Writes all that the database knows as lines of JSON that either engine takes back (`importMetadata`): a backup, and the way
 * from one engine to the other. It is as of one moment, beside a server that goes on.
 * @returns the number of rows
 */
export async function exportMetadata(
  { database, seal }: Pick<Foundation, 'database' | 'seal'>,
  sink: DumpSink,
): Promise<number> {
  const snapshot =
    database.dialect === 'sqlite' ? 'begin' : 'begin transaction isolation level repeatable read, read only';
  return database.read.connection().execute(async (db) => {
    await sql.raw(snapshot).execute(db);
    try {
      return await writeAll(db, seal, sink);
    } finally {
      await sql.raw('rollback').execute(db);
    }
  });
}

async function writeAll(db: Kysely<Schema>, seal: KeySeal, sink: DumpSink): Promise<number> {
  const write = (lines: readonly DumpLine[]): Promise<void> =>
    sink(lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  await write([
    { larder: 'metadata', version: 1, migrations: await queryMigrations(db), sealKey: sealKeyId(seal) },
  ]);
  let count = 0;
  for (const table of dumpedTables) {
    let columns: readonly string[] | undefined;
    for await (const rows of readPages(db, table)) {
      const first = rows[0] ?? {};
      const lines: DumpLine[] = [];
      if (columns === undefined) {
        columns = Object.keys(first);
        lines.push({ table: table.table, columns });
      }
      for (const row of rows) lines.push({ row: columns.map((column) => packValue(row[column])) });
      await write(lines);
      count += rows.length;
    }
  }
  await write([{ end: true, rows: count }]);
  return count;
}

type Row = Readonly<Record<string, unknown>>;

async function* readPages(db: Kysely<Schema>, { table, key }: DumpedTable): AsyncGenerator<readonly Row[]> {
  const columns = sql.join(key.map((name) => sql.ref(name)));
  for (let last: Row | undefined; ; ) {
    const after: Row | undefined = last;
    const where =
      after === undefined ? sql`` : sql`where (${columns}) > (${sql.join(key.map((name) => after[name]))})`;
    const { rows } =
      await sql<Row>`select * from ${sql.table(table)} ${where} order by ${columns} limit ${sql.lit(PAGE)}`.execute(
        db,
      );
    if (rows.length > 0) yield rows;
    if (rows.length < PAGE) return;
    last = rows.at(-1);
  }
}

/** The migrations that made the tables. */
export async function queryMigrations(db: Kysely<Schema>): Promise<string[]> {
  const { rows } = await sql<{ name: string }>`select name from kysely_migration order by name`.execute(db);
  return rows.map(({ name }) => name);
}

/** Tells seal keys apart, and nothing else of them. */
export function sealKeyId(seal: KeySeal): string {
  return createHash('sha256').update(seal.deriveKey('dump')).digest('base64url').slice(0, 16);
}
