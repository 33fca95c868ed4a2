import type { Insertable } from 'kysely';
import type { Database } from '../database/database.js';
import { type AuditEntriesTable, insertAuditEntries } from '../database/tables/audit-entries.js';

export type AuditEntry = Insertable<AuditEntriesTable>;

/** Entries in one statement. */
const BATCH = 200;

/**
 * Writes the audit log. An entry is durable before the request that made it is answered; entries of requests that run at
 * once share a transaction, so that a busy server does not pay a flush to disk for each.
 */
export class AuditLog {
  readonly #database: Database;
  #waiting: AuditEntry[] = [];
  #next: Promise<void> | undefined;
  #running: Promise<void> = Promise.resolve();

  constructor(database: Database) {
    this.#database = database;
  }

  /** Entries that wait for their turn. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Resolves once the entry is durable. */
  async record(entry: AuditEntry): Promise<void> {
    this.#waiting.push(entry);
    // The next batch starts when the running one is done, with all that came meanwhile.
    this.#next ??= this.#running.then(() => this.#flush());
    await this.#next;
  }

  #flush(): Promise<void> {
    const entries = this.#waiting;
    this.#waiting = [];
    this.#next = undefined;
    const writing = this.#database.write.transaction().execute(async (db) => {
      for (let at = 0; at < entries.length; at += BATCH)
        await insertAuditEntries(db, entries.slice(at, at + BATCH));
    });
    this.#running = writing.catch(() => undefined);
    return writing;
  }
}
