import type { Kysely, Selectable } from 'kysely';
import { inBatches } from '../batches.js';
import type { Schema } from '../schema.js';

/** Names that keep paths from being collected. What a name stands for changes; each state is a revision. */
export interface PinsTable {
  cache_id: number;
  name: string;
  /** The newest revisions that are kept; null for the cache's own setting. */
  keep_last: number | null;
  /** Milliseconds that a revision is kept whatever its number; null for none. */
  keep_for: number | null;
  created_at: number;
}

/** What a pin stood for, from when on. */
export interface PinRevisionsTable {
  cache_id: number;
  pin: string;
  /** 1, 2, … within the pin. */
  revision: number;
  created_at: number;
  /** The name of the token that made it, as it was called then. */
  created_by: string | null;
  /** Whether its paths are kept. */
  kept: number;
}

export interface PinPathsTable {
  cache_id: number;
  pin: string;
  revision: number;
  hash_part: string;
  /** What follows the hash part in the base name: history outlives its paths. */
  name: string;
}

export type PinRow = Selectable<PinsTable>;
export type PinRevisionRow = Selectable<PinRevisionsTable>;
export type PinPathRow = Selectable<PinPathsTable>;

/** Makes a pin, or changes how much of it is kept. */
export async function upsertPin(db: Kysely<Schema>, pin: PinRow): Promise<void> {
  const { keep_last, keep_for } = pin;
  await db
    .insertInto('pins')
    .values(pin)
    .onConflict((conflict) => conflict.columns(['cache_id', 'name']).doUpdateSet({ keep_last, keep_for }))
    .execute();
}

export async function queryPin(
  db: Kysely<Schema>,
  cacheId: number,
  name: string,
): Promise<PinRow | undefined> {
  return db
    .selectFrom('pins')
    .selectAll()
    .where('cache_id', '=', cacheId)
    .where('name', '=', name)
    .executeTakeFirst();
}

export async function queryPins(db: Kysely<Schema>, cacheId: number): Promise<PinRow[]> {
  return db.selectFrom('pins').selectAll().where('cache_id', '=', cacheId).orderBy('name').execute();
}

/** The revisions of a pin, newest first. */
export async function queryPinRevisions(
  db: Kysely<Schema>,
  cacheId: number,
  pin: string,
): Promise<PinRevisionRow[]> {
  return db
    .selectFrom('pin_revisions')
    .selectAll()
    .where('cache_id', '=', cacheId)
    .where('pin', '=', pin)
    .orderBy('revision', 'desc')
    .execute();
}

/** The newest revision of every pin of a cache. */
export async function queryCurrentRevisions(db: Kysely<Schema>, cacheId: number): Promise<PinRevisionRow[]> {
  return db
    .selectFrom('pin_revisions')
    .innerJoin(
      (query) =>
        query
          .selectFrom('pin_revisions')
          .select((each) => ['pin', each.fn.max('revision').as('newest')])
          .where('cache_id', '=', cacheId)
          .groupBy('pin')
          .as('current'),
      (join) =>
        join
          .onRef('current.pin', '=', 'pin_revisions.pin')
          .onRef('current.newest', '=', 'pin_revisions.revision'),
    )
    .selectAll('pin_revisions')
    .where('cache_id', '=', cacheId)
    .execute();
}

/** The paths of a pin's revisions, or of one of them. */
export async function queryPinPaths(
  db: Kysely<Schema>,
  cacheId: number,
  of: { readonly pin: string; readonly revision?: number },
): Promise<PinPathRow[]> {
  let select = db
    .selectFrom('pin_paths')
    .selectAll()
    .where('cache_id', '=', cacheId)
    .where('pin', '=', of.pin)
    .orderBy('hash_part');
  if (of.revision !== undefined) select = select.where('revision', '=', of.revision);
  return select.execute();
}

export async function insertPinRevision(
  db: Kysely<Schema>,
  revision: PinRevisionRow,
  paths: readonly PinPathRow[],
): Promise<void> {
  await db.insertInto('pin_revisions').values(revision).execute();
  await inBatches(paths, async (batch) => {
    await db
      .insertInto('pin_paths')
      .values([...batch])
      .execute();
    return [];
  });
}

/** Says of a pin's revisions which are kept. */
export async function updateKeptRevisions(
  db: Kysely<Schema>,
  pin: { readonly cacheId: number; readonly name: string },
  kept: readonly number[],
): Promise<void> {
  const update = (value: number) =>
    db
      .updateTable('pin_revisions')
      .set({ kept: value })
      .where('cache_id', '=', pin.cacheId)
      .where('pin', '=', pin.name)
      .where('kept', '<>', value);
  await update(0)
    .where('revision', 'not in', kept.length === 0 ? [0] : [...kept])
    .execute();
  if (kept.length > 0) await update(1).where('revision', 'in', kept).execute();
}

/** Forgets revisions up to a number, which nothing keeps any more. */
export async function deletePinRevisions(
  db: Kysely<Schema>,
  pin: { readonly cacheId: number; readonly name: string },
  upTo: number,
): Promise<void> {
  for (const table of ['pin_paths', 'pin_revisions'] as const)
    await db
      .deleteFrom(table)
      .where('cache_id', '=', pin.cacheId)
      .where('pin', '=', pin.name)
      .where('revision', '<=', upTo)
      .execute();
}

/** Gives false when there is no such pin. */
export async function deletePin(db: Kysely<Schema>, cacheId: number, name: string): Promise<boolean> {
  await deletePinRevisions(db, { cacheId, name }, 2 ** 31 - 1);
  const row = await db
    .deleteFrom('pins')
    .where('cache_id', '=', cacheId)
    .where('name', '=', name)
    .returning('name')
    .executeTakeFirst();
  return row !== undefined;
}

/** Those of `hashParts` that a kept revision of a pin names. */
export async function queryPinned(
  db: Kysely<Schema>,
  cacheId: number,
  hashParts: readonly string[],
): Promise<Set<string>> {
  const rows = await inBatches(hashParts, (batch) =>
    db
      .selectFrom('pin_paths')
      .innerJoin('pin_revisions', (join) =>
        join
          .onRef('pin_revisions.cache_id', '=', 'pin_paths.cache_id')
          .onRef('pin_revisions.pin', '=', 'pin_paths.pin')
          .onRef('pin_revisions.revision', '=', 'pin_paths.revision'),
      )
      .select('pin_paths.hash_part')
      .distinct()
      .where('pin_paths.cache_id', '=', cacheId)
      .where('pin_paths.hash_part', 'in', batch)
      .where('pin_revisions.kept', '=', 1)
      .execute(),
  );
  return new Set(rows.map((row) => row.hash_part));
}
