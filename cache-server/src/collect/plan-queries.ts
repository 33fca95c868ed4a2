import { type Kysely, sql } from 'kysely';
import { inBatches } from '../database/batches.js';
import type { Schema } from '../database/schema.js';

/** A path that may be planned. */
export interface PlanPath {
  readonly hash_part: string;
  readonly name: string;
  readonly nar_hash: string;
  readonly pushed_at: number;
  readonly last_used_at: number;
}

const PLAN_COLUMNS = ['hash_part', 'name', 'nar_hash', 'pushed_at', 'last_used_at'] as const;

/** Paths behind a place in the order of last use, and whether anything refers to them (1 or 0). */
export async function queryNextByUse(
  db: Kysely<Schema>,
  cacheId: number,
  { usedAt, hashPart, limit }: { readonly usedAt: number; readonly hashPart: string; readonly limit: number },
): Promise<(PlanPath & { readonly referenced: number })[]> {
  return db
    .selectFrom('paths')
    .select(PLAN_COLUMNS)
    .select(
      sql<number>`case when exists (select 1 from path_references as r where r.cache_id = paths.cache_id
        and r.reference = paths.hash_part) then 1 else 0 end`.as('referenced'),
    )
    .where('cache_id', '=', cacheId)
    .where(sql<boolean>`(last_used_at, hash_part) > (${usedAt}, ${hashPart})`)
    .orderBy('last_used_at')
    .orderBy('hash_part')
    .limit(limit)
    .execute();
}

/** Those paths of these hash parts that are there, the least recently used first. */
export async function queryPlanPaths(
  db: Kysely<Schema>,
  cacheId: number,
  hashParts: readonly string[],
): Promise<PlanPath[]> {
  return inBatches(hashParts, (batch) =>
    db
      .selectFrom('paths')
      .select(PLAN_COLUMNS)
      .where('cache_id', '=', cacheId)
      .where('hash_part', 'in', batch)
      .orderBy('last_used_at')
      .execute(),
  );
}

/** Those of these hash parts that a plan has. */
export async function queryPlanned(
  db: Kysely<Schema>,
  collectionId: number,
  hashParts: readonly string[],
): Promise<Set<string>> {
  const rows = await inBatches(hashParts, (batch) =>
    db
      .selectFrom('collection_plan')
      .select('hash_part')
      .where('collection_id', '=', collectionId)
      .where('hash_part', 'in', batch)
      .execute(),
  );
  return new Set(rows.map((row) => row.hash_part));
}

/** What these paths refer to, once for each of them. */
export async function queryReferences(
  db: Kysely<Schema>,
  cacheId: number,
  hashParts: readonly string[],
): Promise<string[]> {
  const rows = await inBatches(hashParts, (batch) =>
    db
      .selectFrom('path_references')
      .select('reference')
      .where('cache_id', '=', cacheId)
      .where('hash_part', 'in', batch)
      .execute(),
  );
  return rows.map((row) => row.reference);
}

/** How many paths refer to each of these. */
export async function countReferrers(
  db: Kysely<Schema>,
  cacheId: number,
  hashParts: readonly string[],
): Promise<Map<string, number>> {
  const rows = await inBatches(hashParts, (batch) =>
    db
      .selectFrom('path_references')
      .select((query) => ['reference', query.fn.countAll<number>().as('count')])
      .where('cache_id', '=', cacheId)
      .where('reference', 'in', batch)
      .groupBy('reference')
      .execute(),
  );
  return new Map(rows.map((row) => [row.reference, Number(row.count)]));
}

/** How many paths have each of these NARs. */
export async function countPathsOfNars(
  db: Kysely<Schema>,
  cacheId: number,
  narHashes: readonly string[],
): Promise<Map<string, number>> {
  const rows = await inBatches(narHashes, (batch) =>
    db
      .selectFrom('paths')
      .select((query) => ['nar_hash', query.fn.countAll<number>().as('count')])
      .where('cache_id', '=', cacheId)
      .where('nar_hash', 'in', batch)
      .groupBy('nar_hash')
      .execute(),
  );
  return new Map(rows.map((row) => [row.nar_hash, Number(row.count)]));
}
