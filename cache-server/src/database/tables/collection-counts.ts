import type { Kysely } from 'kysely';
import { inBatches } from '../batches.js';
import type { Schema } from '../schema.js';

/** How to count what an object is needed for, the first time it is asked. */
type CountAll = (objects: readonly string[]) => Promise<ReadonlyMap<string, number>>;

/**
 * Takes off what a plan has met of objects' needs, each counted in full only once: so the work of a whole collection grows
 * with the number of references, not with how often each path is looked at.
 * @param met how many more needs of each object are met
 * @returns the objects of which none is left
 */
export async function countDown(
  db: Kysely<Schema>,
  collectionId: number,
  { met, prefix, countAll }: { met: ReadonlyMap<string, number>; prefix: string; countAll: CountAll },
): Promise<string[]> {
  const keys = [...met.keys()];
  const known = await queryCounts(db, collectionId, { keys, prefix });
  const totals = await countAll(keys.filter((key) => !known.has(key)));
  const rows = keys.map((key) => ({
    key,
    remaining: (known.get(key) ?? totals.get(key) ?? 0) - (met.get(key) ?? 0),
  }));
  // Those that are done for good with their first count need no row: most NARs have one path, most paths few referrers.
  const kept = rows.filter(({ key, remaining }) => known.has(key) || remaining > 0);
  await inBatches(kept, async (batch) => {
    await db
      .insertInto('collection_counts')
      .values(
        batch.map(({ key, remaining }) => ({
          collection_id: collectionId,
          object: `${prefix}${key}`,
          remaining,
        })),
      )
      .onConflict((conflict) =>
        conflict
          .columns(['collection_id', 'object'])
          .doUpdateSet((query) => ({ remaining: query.ref('excluded.remaining') })),
      )
      .execute();
    return [];
  });
  return rows.filter(({ remaining }) => remaining <= 0).map(({ key }) => key);
}

async function queryCounts(
  db: Kysely<Schema>,
  collectionId: number,
  { keys, prefix }: { readonly keys: readonly string[]; readonly prefix: string },
): Promise<Map<string, number>> {
  const rows = await inBatches(keys, (batch) =>
    db
      .selectFrom('collection_counts')
      .select(['object', 'remaining'])
      .where('collection_id', '=', collectionId)
      .where(
        'object',
        'in',
        batch.map((key) => `${prefix}${key}`),
      )
      .execute(),
  );
  return new Map(rows.map((row) => [row.object.slice(prefix.length), row.remaining]));
}
