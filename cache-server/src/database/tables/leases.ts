import type { Kysely, Selectable } from 'kysely';
import { inBatches } from '../batches.js';
import type { Schema } from '../schema.js';

/**
 * Who may write or delete an object of the bucket just now, or run a job. A row that outlives its time means a holder that
 * died in the middle: for a job nothing, for an object that the bucket may not be what the database says.
 */
export interface LeasesTable {
  /** 0 for the server's own. */
  cache_id: number;
  /** `path/<hash part>`, `nar/<NarHash>`, `file/<upload's name>`, `job/<name>`. */
  object: string;
  /** Random, one a holding. */
  holder: string;
  until: number;
}

export type LeaseRow = Selectable<LeasesTable>;

/** Takes those that nobody holds since `now`; gives them. */
export async function takeLeases(
  db: Kysely<Schema>,
  rows: readonly LeaseRow[],
  now: number,
): Promise<string[]> {
  const taken = await inBatches(rows, (batch) =>
    db
      .insertInto('leases')
      .values([...batch])
      .onConflict((conflict) =>
        conflict
          .columns(['cache_id', 'object'])
          .doUpdateSet((query) => ({
            holder: query.ref('excluded.holder'),
            until: query.ref('excluded.until'),
          }))
          .where('leases.until', '<', now),
      )
      .returning('object')
      .execute(),
  );
  return taken.map((row) => row.object);
}

export async function extendLeases(db: Kysely<Schema>, holder: string, held: HeldLeases): Promise<void> {
  await inBatches(held.objects, async (batch) => {
    await db
      .updateTable('leases')
      .set({ until: held.until })
      .where('cache_id', '=', held.cacheId)
      .where('object', 'in', batch)
      .where('holder', '=', holder)
      .execute();
    return [];
  });
}

export interface HeldLeases {
  readonly cacheId: number;
  readonly objects: readonly string[];
  readonly until: number;
}

/** Gives up leases; gives how many were still held. */
export async function deleteLeases(
  db: Kysely<Schema>,
  holder: string,
  held: Omit<HeldLeases, 'until'>,
): Promise<number> {
  const rows = await inBatches(held.objects, (batch) =>
    db
      .deleteFrom('leases')
      .where('cache_id', '=', held.cacheId)
      .where('object', 'in', batch)
      .where('holder', '=', holder)
      .returning('object')
      .execute(),
  );
  return rows.length;
}

/** Those of `objects` that somebody holds at `now`. */
export async function queryHeld(
  db: Kysely<Schema>,
  cacheId: number,
  { objects, now }: { readonly objects: readonly string[]; readonly now: number },
): Promise<Set<string>> {
  const rows = await inBatches(objects, (batch) =>
    db
      .selectFrom('leases')
      .select('object')
      .where('cache_id', '=', cacheId)
      .where('object', 'in', batch)
      .where('until', '>=', now)
      .execute(),
  );
  return new Set(rows.map((row) => row.object));
}

/** Leases whose holders died before `time`. */
export async function queryLapsed(db: Kysely<Schema>, time: number, limit: number): Promise<LeaseRow[]> {
  return db
    .selectFrom('leases')
    .selectAll()
    .where('until', '<', time)
    .orderBy('until')
    .limit(limit)
    .execute();
}
