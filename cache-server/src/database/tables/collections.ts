import type { Generated, Insertable, Kysely, Selectable, Updateable } from 'kysely';
import type { Schema } from '../schema.js';

/** `planning`: finding out what is to go; `withdrawing`: taking it out; then one of the ends. */
export type CollectionState = 'planning' | 'withdrawing' | 'done' | 'failed';

/** Collections of a cache: what they go by, and how far they have come. */
export interface CollectionsTable {
  id: Generated<number>;
  cache_id: number;
  state: CollectionState;
  /** Such a one ends with its plan. */
  dry_run: number;
  /** JSON of a `CollectionPolicy`. */
  policy: string;
  /** JSON of a `PlanCursor` while planning; then the number in the plan it has come to. */
  cursor: string | null;
  planned_paths: Generated<number>;
  /** Bytes of NARs that nothing else will need. */
  planned_bytes: Generated<number>;
  withdrawn_paths: Generated<number>;
  deleted_nars: Generated<number>;
  /** As they were stored. */
  deleted_bytes: Generated<number>;
  started_at: number;
  updated_at: number;
  finished_at: number | null;
  error: string | null;
}

/** What a collection found is to go: each path after all that refer to it. */
export interface CollectionPlanTable {
  collection_id: number;
  /** 1, 2, … */
  seq: number;
  hash_part: string;
  name: string;
  /** Bytes of its NAR, if no other path has it. */
  freed: number;
  last_used_at: number;
}

/** How many of the needs of an object (`path/…`: its referrers; `nar/…`: its paths) the plan has not met yet. */
export interface CollectionCountsTable {
  collection_id: number;
  object: string;
  remaining: number;
}

export type CollectionRow = Selectable<CollectionsTable>;
export type CollectionPlanRow = Selectable<CollectionPlanTable>;

export async function insertCollection(
  db: Kysely<Schema>,
  collection: Insertable<CollectionsTable>,
): Promise<CollectionRow> {
  return db.insertInto('collections').values(collection).returningAll().executeTakeFirstOrThrow();
}

export async function updateCollection(
  db: Kysely<Schema>,
  id: number,
  change: Updateable<CollectionsTable>,
): Promise<void> {
  await db
    .updateTable('collections')
    .set({ ...change, updated_at: Date.now() })
    .where('id', '=', id)
    .execute();
}

export async function queryCollection(
  db: Kysely<Schema>,
  cacheId: number,
  id: number,
): Promise<CollectionRow | undefined> {
  return db
    .selectFrom('collections')
    .selectAll()
    .where('cache_id', '=', cacheId)
    .where('id', '=', id)
    .executeTakeFirst();
}

/** The newest first. */
export async function queryCollections(
  db: Kysely<Schema>,
  cacheId: number,
  limit: number,
): Promise<CollectionRow[]> {
  return db
    .selectFrom('collections')
    .selectAll()
    .where('cache_id', '=', cacheId)
    .orderBy('id', 'desc')
    .limit(limit)
    .execute();
}

/** The one that has not come to an end. */
export async function queryRunningCollection(
  db: Kysely<Schema>,
  cacheId: number,
): Promise<CollectionRow | undefined> {
  return db
    .selectFrom('collections')
    .selectAll()
    .where('cache_id', '=', cacheId)
    .where('finished_at', 'is', null)
    .orderBy('id')
    .executeTakeFirst();
}

/** The plan from after a number on, in its order. */
export async function queryPlan(
  db: Kysely<Schema>,
  collectionId: number,
  { after, limit }: { readonly after: number; readonly limit: number },
): Promise<CollectionPlanRow[]> {
  return db
    .selectFrom('collection_plan')
    .selectAll()
    .where('collection_id', '=', collectionId)
    .where('seq', '>', after)
    .orderBy('seq')
    .limit(limit)
    .execute();
}

/** Forgets what collections before `id` planned, and all but the newest `keep` themselves. */
export async function pruneCollections(
  db: Kysely<Schema>,
  cacheId: number,
  { before, keep }: { readonly before: number; readonly keep: number },
): Promise<void> {
  const old = await db
    .selectFrom('collections')
    .select('id')
    .where('cache_id', '=', cacheId)
    .where('id', '<', before)
    .orderBy('id', 'desc')
    .execute();
  const ids = old.map((row) => row.id);
  if (ids.length === 0) return;
  for (const table of ['collection_plan', 'collection_counts'] as const)
    await db.deleteFrom(table).where('collection_id', 'in', ids).execute();
  const forgotten = ids.slice(keep);
  if (forgotten.length > 0) await db.deleteFrom('collections').where('id', 'in', forgotten).execute();
}
