import type { Kysely, Selectable } from 'kysely';
import type { Schema } from '../schema.js';

/** Signing the paths of a cache anew: how far it is. One a cache, the last. */
export interface ResignJobsTable {
  cache_id: number;
  /** Whether signatures by retired keys go. */
  drop_retired: number;
  /** The last hash part that was looked at. */
  cursor: string;
  seen: number;
  changed: number;
  started_at: number;
  finished_at: number | null;
}

export type ResignJobRow = Selectable<ResignJobsTable>;

export async function replaceResignJob(db: Kysely<Schema>, job: ResignJobRow): Promise<void> {
  const { cache_id: _, ...rest } = job;
  await db
    .insertInto('resign_jobs')
    .values(job)
    .onConflict((conflict) => conflict.column('cache_id').doUpdateSet(rest))
    .execute();
}

export async function queryResignJob(db: Kysely<Schema>, cacheId: number): Promise<ResignJobRow | undefined> {
  return db.selectFrom('resign_jobs').selectAll().where('cache_id', '=', cacheId).executeTakeFirst();
}
