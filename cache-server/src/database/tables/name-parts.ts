import type { Kysely } from 'kysely';
import { inBatches } from '../batches.js';
import type { Schema } from '../schema.js';

/**
 * Where words begin in the names of a cache's paths: `python3.11-requests-2.31.0` is found by `python3`, `requests-2` and
 * `2.31`. A search is a range of this table's key, whatever the number of paths. Names that no path has any more may stay.
 */
export interface NamePartsTable {
  cache_id: number;
  /** The name from that word on, in small letters, at most `MAX_PART` of them. */
  part: string;
  name: string;
}

export const MAX_PART = 48;
/** Of one name: a search finds its first words. */
const MAX_PARTS = 12;

/** The parts that a name is found by. */
export function partsOf(name: string): string[] {
  const lower = name.toLowerCase();
  const parts: string[] = [];
  for (const match of lower.matchAll(/(?<![a-z])[a-z]|(?<![0-9.])[0-9]/g)) {
    parts.push(lower.slice(match.index, match.index + MAX_PART));
    if (parts.length === MAX_PARTS) break;
  }
  if (parts[0] !== lower.slice(0, MAX_PART)) parts.push(lower.slice(0, MAX_PART));
  return [...new Set(parts)];
}

/**
 * Makes names known. Outside of a transaction, and before the paths that have them: rows are in one order, so that two replicas
 * never wait for each other, and a crash leaves at worst a name without a path.
 */
export async function insertNameParts(
  db: Kysely<Schema>,
  cacheId: number,
  names: readonly string[],
): Promise<void> {
  const rows = [...new Set(names)]
    .flatMap((name) => partsOf(name).map((part) => ({ cache_id: cacheId, part, name })))
    .sort((left, right) => compare(left.part, right.part) || compare(left.name, right.name));
  await inBatches(rows, async (batch) => {
    await db
      .insertInto('name_parts')
      .values([...batch])
      .onConflict((conflict) => conflict.columns(['cache_id', 'part', 'name']).doNothing())
      .execute();
    return [];
  });
}

function compare(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}

/** The names with a part that starts with `prefix` (small letters), in the order of those parts; after one, for the next page. */
export async function queryNames(
  db: Kysely<Schema>,
  cacheId: number,
  page: {
    readonly prefix: string;
    readonly after?: Pick<NamePartsTable, 'part' | 'name'>;
    readonly limit: number;
  },
): Promise<Pick<NamePartsTable, 'part' | 'name'>[]> {
  const prefix = page.prefix.slice(0, MAX_PART);
  let select = db
    .selectFrom('name_parts')
    .select(['part', 'name'])
    .where('cache_id', '=', cacheId)
    // No name has a tilde, and all that they have comes before it.
    .where('part', '<', `${prefix}~`)
    .orderBy('part')
    .orderBy('name')
    .limit(page.limit);
  const { after } = page;
  select =
    after === undefined
      ? select.where('part', '>=', prefix)
      : select
          .where('part', '>=', after.part)
          .where((query) => query.or([query('part', '>', after.part), query('name', '>', after.name)]));
  return select.execute();
}
