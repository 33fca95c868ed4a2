import type { Kysely, LogEvent } from 'kysely';
import { sql } from 'kysely';
import { ServerError } from '../errors.js';
import { migrate } from './migrate.js';
import { openPostgres } from './postgresql.js';
import type { Schema } from './schema.js';
import { openSqlite } from './sqlite.js';

export type Dialect = 'sqlite' | 'postgresql';

/** Hears of every query: its kind (select, insert, …) and how long it took. */
export type OnQuery = (kind: string, seconds: number, failed: boolean) => void;

export type DatabaseOptions =
  | { readonly engine: 'sqlite'; readonly path: string }
  | { readonly engine: 'postgresql'; readonly url: string; readonly connections: number };

/** The index over the storage, on either engine. */
export interface Database extends AsyncDisposable {
  readonly dialect: Dialect;
  /** For lookups: on SQLite a connection of its own, so that a running transaction does not hold them up. */
  readonly read: Kysely<Schema>;
  readonly write: Kysely<Schema>;
}

/**
 * Opens the database and brings its tables up to date.
 * @throws `database-failed` saying what could not be opened
 */
export async function openDatabase(options: DatabaseOptions, onQuery?: OnQuery): Promise<Database> {
  const log = onQuery === undefined ? undefined : queryLog(onQuery);
  const opened = options.engine === 'sqlite' ? openSqlite(options.path, log) : openPostgres(options, log);
  try {
    await migrate(opened.write, options.engine);
    const read = opened.openRead();
    return {
      dialect: options.engine,
      write: opened.write,
      read,
      async [Symbol.asyncDispose]() {
        if (read !== opened.write) await read.destroy();
        await opened.write.destroy();
      },
    };
  } catch (error) {
    await opened.write.destroy();
    const detail = error instanceof Error ? error.message : String(error);
    throw new ServerError('database-failed', `cannot open the ${options.engine} database: ${detail}`, {
      cause: error,
    });
  }
}

const KINDS: Readonly<Record<string, string>> = {
  SelectQueryNode: 'select',
  InsertQueryNode: 'insert',
  UpdateQueryNode: 'update',
  DeleteQueryNode: 'delete',
};

function queryLog(onQuery: OnQuery): (event: LogEvent) => void {
  return ({ query, level, queryDurationMillis }) =>
    onQuery(KINDS[query.query.kind] ?? 'other', queryDurationMillis / 1000, level === 'error');
}

/** Resolves when the database answers. */
export async function checkDatabase(database: Database): Promise<void> {
  await sql`select 1`.execute(database.read);
}
