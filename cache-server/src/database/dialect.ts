import { type Kysely, PostgresAdapter } from 'kysely';
import type { Schema } from './schema.js';

/** Whether this is PostgreSQL, where rows are locked one by one. */
export function isPostgres(db: Kysely<Schema>): boolean {
  return db.getExecutor().adapter instanceof PostgresAdapter;
}
