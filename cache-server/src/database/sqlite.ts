import SqliteDatabase from 'better-sqlite3';
import {
  CompiledQuery,
  type DatabaseConnection,
  Kysely,
  type KyselyConfig,
  SqliteDialect,
  SqliteDriver,
} from 'kysely';
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

export function openSqlite(path: string, log: KyselyConfig['log']): OpenedDatabase {
  const open = (readonly: boolean): Kysely<Schema> => {
    const database = connect(path, readonly);
    return new Kysely<Schema>({ dialect: new ImmediateSqliteDialect({ database }), ...(log ? { log } : {}) });
  };
  return { write: open(false), openRead: () => open(true) };
}

/**
 * Takes the write lock when a transaction begins: one that reads first and writes later would fail if another process wrote
 * in between.
 */
class ImmediateSqliteDialect extends SqliteDialect {
  readonly #config: ConstructorParameters<typeof SqliteDriver>[0];

  constructor(config: ConstructorParameters<typeof SqliteDriver>[0]) {
    super(config);
    this.#config = config;
  }

  override createDriver(): SqliteDriver {
    return new ImmediateSqliteDriver(this.#config);
  }
}

class ImmediateSqliteDriver extends SqliteDriver {
  override async beginTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw('begin immediate'));
  }
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
