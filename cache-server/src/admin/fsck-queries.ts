import type { Kysely } from 'kysely';
import type { Schema } from '../database/schema.js';
import type { NarRow } from '../database/tables/nars.js';

/** Rows read at a time. */
const PAGE = 500;

export async function* readNarRows(db: Kysely<Schema>, cacheId: number): AsyncGenerator<readonly NarRow[]> {
  for (let last = ''; ; ) {
    const rows = await db
      .selectFrom('nars')
      .selectAll()
      .where('cache_id', '=', cacheId)
      .where('nar_hash', '>', last)
      .orderBy('nar_hash')
      .limit(PAGE)
      .execute();
    yield rows;
    if (rows.length < PAGE) return;
    last = rows.at(-1)?.nar_hash ?? last;
  }
}

/** A path, and whether the database has its NAR. */
export interface PathRecord {
  readonly hash_part: string;
  readonly name: string;
  readonly nar_hash: string;
  readonly narinfo: string;
  readonly has_nar: number;
}

export async function* readPathRecords(
  db: Kysely<Schema>,
  cacheId: number,
): AsyncGenerator<readonly PathRecord[]> {
  for (let last = ''; ; ) {
    const rows = await db
      .selectFrom('paths')
      .leftJoin('nars', (join) =>
        join.onRef('nars.cache_id', '=', 'paths.cache_id').onRef('nars.nar_hash', '=', 'paths.nar_hash'),
      )
      .select(['paths.hash_part', 'paths.name', 'paths.nar_hash', 'paths.narinfo'])
      .select((query) => query.case().when('nars.nar_hash', 'is', null).then(0).else(1).end().as('has_nar'))
      .where('paths.cache_id', '=', cacheId)
      .where('paths.hash_part', '>', last)
      .orderBy('paths.hash_part')
      .limit(PAGE)
      .execute();
    yield rows;
    if (rows.length < PAGE) return;
    last = rows.at(-1)?.hash_part ?? last;
  }
}

/** Paths that refer to what the cache does not have. */
export async function queryDangling(
  db: Kysely<Schema>,
  cacheId: number,
): Promise<readonly { readonly hash_part: string; readonly reference: string }[]> {
  return db
    .selectFrom('path_references as reference')
    .leftJoin('paths as target', (join) =>
      join
        .onRef('target.cache_id', '=', 'reference.cache_id')
        .onRef('target.hash_part', '=', 'reference.reference'),
    )
    .select(['reference.hash_part', 'reference.reference'])
    .where('reference.cache_id', '=', cacheId)
    .where('target.hash_part', 'is', null)
    .execute();
}
