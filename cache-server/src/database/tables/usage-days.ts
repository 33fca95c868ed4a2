import { type Kysely, sql } from 'kysely';
import type { Schema } from '../schema.js';

/** How much a cache was used on a day (UTC, `2026-02-28`), by all replicas. */
export interface UsageDaysTable {
  cache_id: number;
  day: string;
  /** Requests for narinfos, and those of them that found one. */
  lookups: number;
  hits: number;
  /** NARs that were sent. */
  nars: number;
  bytes_sent: number;
  /** NARs that were taken in. */
  uploads: number;
  bytes_received: number;
}

export const usageCounters = ['lookups', 'hits', 'nars', 'bytes_sent', 'uploads', 'bytes_received'] as const;
export type UsageCounts = Pick<UsageDaysTable, (typeof usageCounters)[number]>;

/** Adds to what is there: other replicas do so, too. Rows in one order, so that two never wait for each other. */
export async function addUsageDays(db: Kysely<Schema>, rows: readonly UsageDaysTable[]): Promise<void> {
  if (rows.length === 0) return;
  const sorted = [...rows].sort(
    (left, right) => left.cache_id - right.cache_id || (left.day < right.day ? -1 : 1),
  );
  await db
    .insertInto('usage_days')
    .values(sorted)
    .onConflict((conflict) =>
      conflict
        .columns(['cache_id', 'day'])
        .doUpdateSet(
          Object.fromEntries(
            usageCounters.map((name) => [
              name,
              sql<number>`${sql.ref(`usage_days.${name}`)} + ${sql.ref(`excluded.${name}`)}`,
            ]),
          ),
        ),
    )
    .execute();
}

/** The days from `since` on that have anything, oldest first. */
export async function queryUsageDays(
  db: Kysely<Schema>,
  cacheId: number,
  since: string,
): Promise<UsageDaysTable[]> {
  return db
    .selectFrom('usage_days')
    .selectAll()
    .where('cache_id', '=', cacheId)
    .where('day', '>=', since)
    .orderBy('day')
    .execute();
}
