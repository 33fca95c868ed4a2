import type { Kysely } from 'kysely';
import { sql } from 'kysely';
import { ServerError } from '../errors.js';
import { migrate } from './migrate.js';
import { openPostgres } from './postgresql.js';
import type { Schema } from './schema.js';
import { openSqlite } from './sqlite.js';

export type Dialect = 'sqlite' | 'postgresql';

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
export async function openDatabase(options: DatabaseOptions): Promise<Database> {
  const opened = options.engine === 'sqlite' ? openSqlite(options.path) : openPostgres(options);
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

/** Resolves when the database answers. */
export async function checkDatabase(database: Database): Promise<void> {
  await sql`select 1`.execute(database.read);
}
