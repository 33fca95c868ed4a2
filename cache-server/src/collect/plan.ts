import type { Transaction } from 'kysely';
import type { Cache } from '../caches/cache.js';
import { inBatches } from '../database/batches.js';
import type { Schema } from '../database/schema.js';
import { queryUsage } from '../database/tables/cache-usage.js';
import { countDown } from '../database/tables/collection-counts.js';
import { type CollectionRow, queryPlan, updateCollection } from '../database/tables/collections.js';
import { querySpareBytes } from '../database/tables/nars.js';
import { queryPinned } from '../database/tables/pins.js';
import {
  countPathsOfNars,
  countReferrers,
  type PlanPath,
  queryNextByUse,
  queryPlanned,
  queryPlanPaths,
  queryReferences,
} from './plan-queries.js';
import { type CollectionPolicy, isFresh, isOutdated } from './policy.js';

/** How far a plan has come. */
interface PlanCursor {
  /** Of the last path looked at, in the order of last use. */
  readonly usedAt: number;
  readonly hashPart: string;
  /** The number in the plan up to which references were followed. */
  readonly followed: number;
  /** Bytes of the NARs that no path had when the plan was begun; looked for where size matters. */
  readonly spare?: number;
}

/** Paths looked at, or followed, in one transaction: a short one, so that uploads wait for it no longer than for each other. */
const STEP = 500;
/** Largest part of what a size limit wants gone that is decided at once, before what depends on it is looked at. */
const SHARE = 20;

/**
 * Finds out what of a cache is to go: paths that the policy wants gone, that no pin names and that nothing refers to but what
 * goes, too. It starts at paths without referrers, least recently used first, and counts down the referrers of what they
 * refer to; whatever is left without any comes next. So the plan has each path after all its referrers, what is kept is
 * never walked through, and every reference is looked at once.
 *
 * One call is one step of bounded size, within a transaction that also notes how far it came.
 * @returns whether the plan is complete
 */
export async function planStep(
  db: Transaction<Schema>,
  cache: Cache,
  collection: CollectionRow,
): Promise<boolean> {
  const policy = JSON.parse(collection.policy) as CollectionPolicy;
  const cursor: PlanCursor =
    collection.cursor === null
      ? { usedAt: -1, hashPart: '', followed: 0 }
      : (JSON.parse(collection.cursor) as PlanCursor);
  const usage = await queryUsage(db, cache.id);
  // Once for the whole plan: there may be as many of them as paths.
  const spare = policy.maxBytes === undefined ? 0 : (cursor.spare ?? (await querySpareBytes(db, cache.id)));
  const held = usage.nar_bytes - spare;
  const excess = held - collection.planned_bytes - (policy.maxBytes ?? Number.POSITIVE_INFINITY);
  const step = new PlanStep(db, cache, { collection, policy, excess, paths: usage.paths });
  const { reached, isComplete } = await step.run(cursor);
  await updateCollection(db, collection.id, {
    cursor: JSON.stringify({ ...reached, spare }),
    planned_paths: step.count,
    planned_bytes: step.bytes,
  });
  return isComplete;
}

class PlanStep {
  readonly #db: Transaction<Schema>;
  readonly #cache: Cache;
  readonly #collection: CollectionRow;
  readonly #policy: CollectionPolicy;
  readonly #pathCount: number;
  /** Bytes over the policy's limit, what is planned taken off. */
  #excess: number;
  /** Paths looked at, or followed, so far. */
  #looked = 0;
  count: number;
  bytes: number;

  constructor(
    db: Transaction<Schema>,
    cache: Cache,
    options: {
      readonly collection: CollectionRow;
      readonly policy: CollectionPolicy;
      readonly excess: number;
      readonly paths: number;
    },
  ) {
    this.#db = db;
    this.#cache = cache;
    this.#collection = options.collection;
    this.#policy = options.policy;
    this.#excess = options.excess;
    this.#pathCount = options.paths;
    this.count = options.collection.planned_paths;
    this.bytes = options.collection.planned_bytes;
  }

  /**
   * Scans and follows until it has looked at enough paths. Where closures are deep and few, what there is to follow at a time is
   * little: a transaction for each would take more time than all the rest.
   */
  async run(cursor: PlanCursor): Promise<{ readonly reached: PlanCursor; readonly isComplete: boolean }> {
    let reached = cursor;
    while (this.#looked < STEP) {
      const next = reached.followed < this.count ? await this.#follow(reached) : await this.#scan(reached);
      if (next === undefined) return { reached, isComplete: true };
      reached = next;
    }
    return { reached, isComplete: false };
  }

  /** Looks at the next paths in the order of last use; `undefined` when there are no more to look at. */
  async #scan(cursor: PlanCursor): Promise<PlanCursor | undefined> {
    const rows = await queryNextByUse(this.#db, this.#cache.id, { ...cursor, limit: this.#stride() });
    this.#looked += rows.length;
    const last = rows.at(-1);
    if (last === undefined || (rows[0]?.last_used_at ?? 0) >= this.#end()) return undefined;
    const wanted = rows.filter((row) => row.referenced === 0 && this.#isWanted(row));
    await this.#add(wanted);
    return { usedAt: last.last_used_at, hashPart: last.hash_part, followed: cursor.followed };
  }

  /** Follows the references of what is planned; what nothing else refers to is planned as well. */
  async #follow(cursor: PlanCursor): Promise<PlanCursor> {
    const planned = await queryPlan(this.#db, this.#collection.id, { after: cursor.followed, limit: STEP });
    this.#looked += planned.length;
    const references = await queryReferences(
      this.#db,
      this.#cache.id,
      planned.map((row) => row.hash_part),
    );
    const met = new Map<string, number>();
    for (const reference of references) met.set(reference, (met.get(reference) ?? 0) + 1);
    const free = await countDown(this.#db, this.#collection.id, {
      met,
      prefix: 'path/',
      countAll: (keys) => countReferrers(this.#db, this.#cache.id, keys),
    });
    const rows = await queryPlanPaths(this.#db, this.#cache.id, free);
    await this.#add(rows.filter((row) => this.#isWanted(row)));
    return { ...cursor, followed: cursor.followed + planned.length };
  }

  /** Nothing used since this is wanted gone. */
  #end(): number {
    const { pushedBefore, usedBefore = 0, maxBytes, graceSince } = this.#policy;
    if (pushedBefore !== undefined || (maxBytes !== undefined && this.#excess > 0)) return graceSince;
    return Math.min(usedBefore, graceSince);
  }

  #isWanted(row: PlanPath): boolean {
    if (isOutdated(this.#policy, row)) return true;
    return this.#policy.maxBytes !== undefined && this.#excess > 0 && !isFresh(this.#policy, row);
  }

  async #add(candidates: readonly PlanPath[]): Promise<void> {
    if (candidates.length === 0) return;
    const hashParts = candidates.map((row) => row.hash_part);
    const [pinned, planned] = [
      await queryPinned(this.#db, this.#cache.id, hashParts),
      await queryPlanned(this.#db, this.#collection.id, hashParts),
    ];
    const paths = candidates.filter(({ hash_part }) => !pinned.has(hash_part) && !planned.has(hash_part));
    const freed = await this.#freedBy(paths);
    const rows = [];
    for (const path of paths) {
      // A limit on size may be met by the paths before.
      if (!this.#isWanted(path)) continue;
      const bytes = freed.get(path.hash_part) ?? 0;
      this.#excess -= bytes;
      this.bytes += bytes;
      rows.push({
        collection_id: this.#collection.id,
        seq: ++this.count,
        hash_part: path.hash_part,
        name: path.name,
        freed: bytes,
        last_used_at: path.last_used_at,
      });
    }
    await inBatches(rows, async (batch) => {
      await this.#db
        .insertInto('collection_plan')
        .values([...batch])
        .execute();
      return [];
    });
  }

  /** By hash part, the bytes of those NARs that no path has but what is planned. */
  async #freedBy(paths: readonly PlanPath[]): Promise<ReadonlyMap<string, number>> {
    const met = new Map<string, number>();
    for (const { nar_hash } of paths) met.set(nar_hash, (met.get(nar_hash) ?? 0) + 1);
    const free = new Set(
      await countDown(this.#db, this.#collection.id, {
        met,
        prefix: 'nar/',
        countAll: (keys) => countPathsOfNars(this.#db, this.#cache.id, keys),
      }),
    );
    const sizes = await inBatches([...free], (batch) =>
      this.#db
        .selectFrom('nars')
        .select(['nar_hash', 'file_size'])
        .where('cache_id', '=', this.#cache.id)
        .where('nar_hash', 'in', batch)
        .execute(),
    );
    const byNar = new Map(sizes.map((row) => [row.nar_hash, row.file_size]));
    const freed = new Map<string, number>();
    for (const { hash_part, nar_hash } of paths) {
      const size = byNar.get(nar_hash);
      // Several paths of one NAR: its bytes count once.
      byNar.delete(nar_hash);
      freed.set(hash_part, size ?? 0);
    }
    return freed;
  }

  /** With a limit on size, a small part of what it wants at a time: what depends on the oldest goes before the newer. */
  #stride(): number {
    const { maxBytes } = this.#policy;
    if (maxBytes === undefined || this.#excess <= 0) return STEP;
    const share = this.#excess / (this.#excess + maxBytes) / SHARE;
    return Math.max(1, Math.min(STEP, Math.floor(share * this.#pathCount)));
  }
}
