import SqliteDatabase from 'better-sqlite3';
import { Kysely, SqliteDialect } from 'kysely';
import { ServerError } from '../errors.js';
import type { Schema } from './schema.js';

/** What an engine gives before its tables are there. */
export interface OpenedDatabase {
  readonly write: Kysely<Schema>;
  /** Called once the tables are there. */
  openRead(): Kysely<Schema>;
}

/** How long a write waits for another process's, in milliseconds. */
const BUSY_TIMEOUT = 30_000;

export function openSqlite(path: string): OpenedDatabase {
  const open = (readonly: boolean): Kysely<Schema> => {
    const database = connect(path, readonly);
    return new Kysely<Schema>({ dialect: new SqliteDialect({ database }) });
  };
  return { write: open(false), openRead: () => open(true) };
}

function connect(path: string, readonly: boolean): SqliteDatabase.Database {
  try {
    const database = new SqliteDatabase(path, { readonly, timeout: BUSY_TIMEOUT });
    if (!readonly) {
      database.pragma('journal_mode = WAL');
      // Every commit reaches the disk: what was acknowledged survives a power cut, not only a crash.
      database.pragma('synchronous = FULL');
    }
    database.pragma('foreign_keys = ON');
    database.pragma('cache_size = -65536');
    database.pragma('mmap_size = 268435456');
    return database;
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    throw new ServerError('database-failed', `cannot open the SQLite database ${path}: ${detail}`, {
      cause: error,
    });
  }
}
