import { type Kysely, sql } from 'kysely';
import type { Database } from '../database/database.js';
import type { Schema } from '../database/schema.js';
import { ServerError } from '../errors.js';
import type { Foundation } from '../start.js';
import { type DumpedValue, dumpMalformed, parseDumpLines, unpackValue } from './dump-lines.js';
import { type DumpedTable, dumpedTables } from './dump-tables.js';
import { queryMigrations, sealKeyId } from './export-metadata.js';

/** Values in one statement, at most: SQLite takes 32766. */
const MAX_VALUES = 16_000;

export interface ImportOptions {
  /** Reads and checks all of it, and keeps nothing. */
  readonly dryRun?: boolean;
}

/**
 * Fills an empty database with a dump (`exportMetadata`), in one transaction: all of it is there then, or nothing.
 * @returns the rows of each table
 * @throws `dump-malformed`, `database-not-empty`, `key-unsealable` when the signing keys in it need another seal key
 */
export async function importMetadata(
  { database, seal }: Pick<Foundation, 'database' | 'seal'>,
  source: AsyncIterable<Uint8Array>,
  { dryRun = false }: ImportOptions = {},
): Promise<ReadonlyMap<string, number>> {
  await requireEmpty(database.write);
  const migrations = await queryMigrations(database.write);
  const counts = new Map<string, number>();
  const undo = new Error('a dry run');
  try {
    await database.write.transaction().execute(async (db) => {
      const rows = new Rows(db, database, counts);
      const check = { migrations, sealKey: sealKeyId(seal) };
      await readDump(source, rows, check);
      if (dryRun) throw undo;
    });
  } catch (error) {
    if (error !== undo) throw error;
  }
  return counts;
}

async function readDump(
  source: AsyncIterable<Uint8Array>,
  rows: Rows,
  expected: { readonly migrations: readonly string[]; readonly sealKey: string },
): Promise<void> {
  let isBegun = false;
  let isOver = false;
  for await (const line of parseDumpLines(source)) {
    if (isOver) throw dumpMalformed('something follows its end');
    if (!isBegun) {
      if (!('larder' in line) || line.version !== 1) throw dumpMalformed('it does not begin as one');
      checkHeader(line, expected);
      isBegun = true;
    } else if ('row' in line) await rows.add(line.row);
    else if ('table' in line) await rows.begin(line.table, line.columns);
    else if ('end' in line) {
      await rows.finish();
      if (line.rows !== rows.total) throw dumpMalformed(`it has ${rows.total} rows, not ${line.rows}`);
      isOver = true;
    } else throw dumpMalformed('it has a line of no known kind');
  }
  if (!isOver) throw dumpMalformed('its end is missing');
}

function checkHeader(
  header: { readonly migrations: readonly string[]; readonly sealKey: string },
  expected: { readonly migrations: readonly string[]; readonly sealKey: string },
): void {
  const newer = header.migrations.filter((name) => !expected.migrations.includes(name));
  if (newer.length > 0)
    throw dumpMalformed(`a newer Larder made it (${newer.join(', ')}); import it with that one`);
  if (header.sealKey !== expected.sealKey)
    throw new ServerError(
      'key-unsealable',
      'the signing keys in this dump are sealed with another seal key: copy the file seal-key of the old data directory ' +
        'to the new one first, or name it in keys.seal_key_file',
    );
}

/** Takes rows table by table, and writes them by the hundred. */
class Rows {
  readonly #db: Kysely<Schema>;
  readonly #database: Database;
  readonly #counts: Map<string, number>;
  #table: DumpedTable | undefined;
  #columns: readonly string[] = [];
  #pending: (readonly DumpedValue[])[] = [];
  total = 0;

  constructor(db: Kysely<Schema>, database: Database, counts: Map<string, number>) {
    this.#db = db;
    this.#database = database;
    this.#counts = counts;
  }

  async begin(name: string, columns: readonly string[]): Promise<void> {
    await this.finish();
    const table = dumpedTables.find((each) => each.table === name);
    if (table === undefined || this.#counts.has(name)) throw dumpMalformed(`it has a table '${name}'`);
    if (columns.length === 0 || !columns.every((column) => /^[a-z_]+$/.test(column)))
      throw dumpMalformed(`the columns of '${name}' have no names`);
    this.#table = table;
    this.#columns = columns;
    this.#counts.set(name, 0);
  }

  async add(row: readonly DumpedValue[]): Promise<void> {
    if (this.#table === undefined || row.length !== this.#columns.length)
      throw dumpMalformed(`a row has ${row.length} columns`);
    this.#pending.push(row);
    if (this.#pending.length * this.#columns.length >= MAX_VALUES) await this.#write();
  }

  /** Ends a table. */
  async finish(): Promise<void> {
    await this.#write();
    const table = this.#table;
    this.#table = undefined;
    if (table?.hasSerial !== true || this.#database.dialect !== 'postgresql') return;
    await sql`select setval(pg_get_serial_sequence(${table.table}, 'id'), max(id)) from ${sql.table(table.table)}`.execute(
      this.#db,
    );
  }

  async #write(): Promise<void> {
    const rows = this.#pending;
    if (this.#table === undefined || rows.length === 0) return;
    this.#pending = [];
    const { table } = this.#table;
    const columns = sql.join(this.#columns.map((column) => sql.ref(column)));
    const values = sql.join(rows.map((row) => sql`(${sql.join(row.map(unpackValue))})`));
    await sql`insert into ${sql.table(table)} (${columns}) values ${values}`.execute(this.#db);
    this.#counts.set(table, (this.#counts.get(table) ?? 0) + rows.length);
    this.total += rows.length;
  }
}

async function requireEmpty(db: Kysely<Schema>): Promise<void> {
  for (const table of ['caches', 'tokens', 'paths'] as const) {
    const { rows } = await sql`select 1 from ${sql.table(table)} limit 1`.execute(db);
    if (rows.length > 0)
      throw new ServerError(
        'database-not-empty',
        `the database has ${table} already; import into one that no server was started on`,
      );
  }
}
