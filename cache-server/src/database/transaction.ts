import type { Transaction } from 'kysely';
import type { Database } from './database.js';
import type { Schema } from './schema.js';

/** PostgreSQL: `serialization_failure`, `deadlock_detected`; SQLite: another process wrote first. */
const TRANSIENT: ReadonlySet<string> = new Set(['40001', '40P01', 'SQLITE_BUSY', 'SQLITE_BUSY_SNAPSHOT']);
const ATTEMPTS = 6;

/**
 * Runs `work` in one transaction, and again from the start if it lost against another that ran at the same time. So it must
 * do nothing but ask and change the database.
 */
export async function transact<T>(
  { write }: Database,
  work: (db: Transaction<Schema>) => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await write.transaction().execute(work);
    } catch (error) {
      if (attempt >= ATTEMPTS || !isTransient(error)) throw error;
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 20 * attempt));
    }
  }
}

function isTransient(error: unknown): boolean {
  return error instanceof Error && 'code' in error && TRANSIENT.has(String(error.code));
}
