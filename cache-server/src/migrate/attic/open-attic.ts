import { existsSync } from 'node:fs';
import SqliteDatabase from 'better-sqlite3';
import { Kysely, PostgresDialect, SqliteDialect } from 'kysely';
import pg from 'pg';
import { ServerError } from '../../errors.js';
import type { AtticSchema } from './attic-schema.js';

/** How long a look waits for attic's own writes, in milliseconds. */
const BUSY_TIMEOUT = 30_000;
/** The wire type of `bigint`, which pg gives as text. */
const INT8 = 20;

/**
 * Opens the database of an attic server, only to read.
 * @param url as in attic's `server.toml`: `sqlite:///var/lib/atticd/server.db?mode=rwc`, `postgresql://…`; or a file's name
 * @throws `database-failed`
 */
export function openAttic(url: string): Kysely<AtticSchema> {
  if (/^postgres(ql)?:/.test(url)) return openPostgres(url);
  const scheme = /^([a-z+]+):\/\//.exec(url)?.[1];
  if (scheme !== undefined && scheme !== 'sqlite')
    throw new ServerError(
      'database-failed',
      `attic has no database of the kind '${scheme}': sqlite:// or postgres://`,
    );
  return openSqlite(url.replace(/^sqlite:(\/\/)?/, '').replace(/\?.*$/, ''));
}

function openSqlite(file: string): Kysely<AtticSchema> {
  if (!existsSync(file)) throw new ServerError('database-failed', `there is no SQLite database ${file}`);
  try {
    // Between two queries nothing is locked, so that a running attic can write.
    const database = new SqliteDatabase(file, { readonly: true, fileMustExist: true, timeout: BUSY_TIMEOUT });
    return new Kysely<AtticSchema>({ dialect: new SqliteDialect({ database }) });
  } catch (error) {
    throw new ServerError('database-failed', `cannot open attic's database ${file}: ${String(error)}`, {
      cause: error,
    });
  }
}

function openPostgres(url: string): Kysely<AtticSchema> {
  const pool = new pg.Pool({
    connectionString: url,
    max: 4,
    connectionTimeoutMillis: 10_000,
    // Whatever is asked, nothing is written.
    options: '-c default_transaction_read_only=on',
    types: {
      getTypeParser: (type: number, format?: 'text' | 'binary') =>
        type === INT8 ? Number : pg.types.getTypeParser(type, format as 'text'),
    },
  });
  // A connection that the server closes while nobody uses it is no fault: the pool opens another.
  pool.on('error', () => undefined);
  return new Kysely<AtticSchema>({ dialect: new PostgresDialect({ pool }) });
}
