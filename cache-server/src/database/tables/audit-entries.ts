import type { Generated, Insertable, Kysely, Selectable } from 'kysely';
import type { Schema } from '../schema.js';

/** Who changed what, and when. Entries are only ever added. */
export interface AuditEntriesTable {
  id: Generated<number>;
  at: number;
  token_id: number | null;
  /** As it was called then. */
  token_name: string | null;
  address: string | null;
  cache: string | null;
  /** The route: `PUT /:cache/nar/:file`. */
  action: string;
  /** The path that was asked for. */
  target: string;
  status: number;
  request: string;
}

export type AuditEntryRow = Selectable<AuditEntriesTable>;

export async function insertAuditEntries(
  db: Kysely<Schema>,
  entries: readonly Insertable<AuditEntriesTable>[],
): Promise<void> {
  await db
    .insertInto('audit_entries')
    .values([...entries])
    .execute();
}

export interface AuditQuery {
  readonly cache?: string;
  /** Only entries with a smaller id: for the next page. */
  readonly before?: number;
  readonly limit: number;
}

/** The newest entries first. */
export async function queryAuditEntries(db: Kysely<Schema>, query: AuditQuery): Promise<AuditEntryRow[]> {
  let select = db.selectFrom('audit_entries').selectAll().orderBy('id', 'desc').limit(query.limit);
  if (query.cache !== undefined) select = select.where('cache', '=', query.cache);
  if (query.before !== undefined) select = select.where('id', '<', query.before);
  return select.execute();
}
