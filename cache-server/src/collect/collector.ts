import type { Cache } from '../caches/cache.js';
import {
  type CollectionRow,
  insertCollection,
  pruneCollections,
  queryCollection,
  queryCollections,
  queryPlan,
  queryRunningCollection,
  updateCollection,
} from '../database/tables/collections.js';
import { transact } from '../database/transaction.js';
import { ServerError } from '../errors.js';
import type { Pins } from '../pins/pins.js';
import { deleteExpiredNars, type ExpiredNarsOptions } from './expired-nars.js';
import { planStep } from './plan.js';
import { type CollectionPolicy, isFresh, isLimited, isOutdated, policyOf } from './policy.js';
import type { Withdrawal } from './withdraw.js';

export interface CollectorOptions extends ExpiredNarsOptions {
  readonly pins: Pins;
  readonly withdrawal: Withdrawal;
  /** Milliseconds that whatever was pushed or fetched stays at least. */
  readonly grace: number;
}

/** Paths withdrawn in one transaction. */
const STEP = 200;
/** Collections of a cache that are remembered. */
const HISTORY = 50;

/**
 * Collects what a cache's retention lets go of: plans it, withdraws it, and deletes the NARs whose time is up. All of it goes in small steps that note in the database
 * how far they came, so whichever replica finds a collection that nobody works on goes on with it. What changed since it was
 * planned is looked at again as each path is withdrawn.
 */
export class Collector {
  readonly #options: CollectorOptions;
  readonly #running = new Set<Promise<void>>();
  #isStopping = false;

  constructor(options: CollectorOptions) {
    this.#options = options;
  }

  /**
   * Begins a collection, which goes on by itself.
   * @throws `collection-running` when one has not ended yet
   */
  async start(cache: Cache, { dryRun }: { readonly dryRun: boolean }): Promise<CollectionRow> {
    const { database, pins, grace } = this.#options;
    await pins.expire(cache);
    const now = Date.now();
    const row = await transact(database, async (db) => {
      const running = await queryRunningCollection(db, cache.id);
      if (running !== undefined)
        throw new ServerError(
          'collection-running',
          `collection ${running.id} of '${cache.name}' has not ended yet`,
          { fields: { id: running.id } },
        );
      const made = await insertCollection(db, {
        cache_id: cache.id,
        state: 'planning',
        dry_run: dryRun ? 1 : 0,
        policy: JSON.stringify(policyOf(cache.options.retention ?? {}, now, grace)),
        cursor: null,
        started_at: now,
        updated_at: now,
        finished_at: null,
        error: null,
      });
      await pruneCollections(db, cache.id, { before: made.id, keep: HISTORY });
      return made;
    });
    this.#goOn(cache);
    return row;
  }

  /** Goes on with a collection that nobody works on; resolves when there is none, or it has ended. */
  async resume(cache: Cache): Promise<void> {
    const { database, leases } = this.#options;
    if ((await queryRunningCollection(database.read, cache.id)) === undefined) return;
    const lease = await leases.tryTake(cache.id, ['job/collect']);
    if (lease === undefined) return;
    await using _ = lease;
    for (;;) {
      if (this.#isStopping) return;
      const row = await queryRunningCollection(database.write, cache.id);
      if (row === undefined) break;
      await this.#step(cache, row);
      // Requests come first.
      await new Promise((resolve) => setImmediate(resolve));
    }
    await lease.release();
  }

  find(cache: Cache, id: number): Promise<CollectionRow | undefined> {
    return queryCollection(this.#options.database.read, cache.id, id);
  }

  list(cache: Cache, limit: number): Promise<CollectionRow[]> {
    return queryCollections(this.#options.database.read, cache.id, limit);
  }

  plan(collection: CollectionRow, page: { readonly after: number; readonly limit: number }) {
    return queryPlan(this.#options.database.read, collection.id, page);
  }

  /** Resolves when those that this replica began have ended, or were interrupted. */
  async idle(): Promise<void> {
    await Promise.all(this.#running);
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.idle();
  }

  #goOn(cache: Cache): void {
    const running = this.resume(cache)
      .catch((error: unknown) => {
        this.#options.logger.warn({ cache: cache.name, err: error }, 'a collection was interrupted');
      })
      .finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  async #step(cache: Cache, row: CollectionRow): Promise<void> {
    if (row.state === 'withdrawing') await this.#withdrawStep(cache, row);
    else await this.#planStep(cache, row);
  }

  async #planStep(cache: Cache, { id }: CollectionRow): Promise<void> {
    const { database } = this.#options;
    await transact(database, async (db) => {
      const row = await queryCollection(db, cache.id, id);
      if (row === undefined || row.state !== 'planning') return;
      const isLimitless = !isLimited(JSON.parse(row.policy) as CollectionPolicy);
      if (!isLimitless && !(await planStep(db, cache, row))) return;
      const isOver = row.dry_run === 1;
      await updateCollection(db, id, {
        state: isOver ? 'done' : 'withdrawing',
        cursor: '0',
        ...(isOver ? { finished_at: Date.now() } : {}),
      });
    });
  }

  async #withdrawStep(cache: Cache, row: CollectionRow): Promise<void> {
    const { database, withdrawal, logger } = this.#options;
    const after = Number(row.cursor ?? 0);
    const batch = await queryPlan(database.write, row.id, { after, limit: STEP });
    const last = batch.at(-1);
    if (last === undefined) {
      const deleted = await deleteExpiredNars(this.#options, cache);
      await updateCollection(database.write, row.id, {
        state: 'done',
        finished_at: Date.now(),
        deleted_nars: deleted.nars,
        deleted_bytes: deleted.bytes,
      });
      logger.info(
        { cache: cache.name, collection: row.id, planned: row.planned_paths, withdrawn: row.withdrawn_paths },
        'collected',
      );
      return;
    }
    const policy = JSON.parse(row.policy) as CollectionPolicy;
    const planned = new Map(batch.map((each) => [each.hash_part, each.last_used_at]));
    const { hashParts } = await withdrawal.withdraw(cache, [...planned.keys()], (path) => {
      if (isOutdated(policy, path)) return true;
      // Chosen for the cache's size: still the least recently used if it was not used since.
      return !isFresh(policy, path) && planned.get(path.hash_part) === path.last_used_at;
    });
    await updateCollection(database.write, row.id, {
      cursor: `${last.seq}`,
      withdrawn_paths: row.withdrawn_paths + hashParts.length,
    });
  }
}
