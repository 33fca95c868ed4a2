import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Kysely } from 'kysely';
import type { Database } from '../database/database.js';
import type { Schema } from '../database/schema.js';
import { deleteLeases, extendLeases, takeLeases } from '../database/tables/leases.js';
import { transact } from '../database/transaction.js';
import { ServerError } from '../errors.js';

/** How long a lease lasts without a sign of life, in milliseconds. */
const DURATION = 30_000;

export interface LeaseTimes {
  readonly duration: number;
  /** How much longer others wait: clocks of replicas may differ by so much, and a write on the wire takes its time. */
  readonly margin: number;
  /** How long a request waits for another's. */
  readonly patience: number;
}

export function leaseTimes(duration: number = DURATION): LeaseTimes {
  // Whole milliseconds: they meet times in the database, whose columns hold no fractions.
  return { duration, margin: Math.ceil(duration / 3), patience: duration * 3 };
}

/** Leases that are held. They are renewed until they are given up. */
export interface Lease extends AsyncDisposable {
  readonly objects: ReadonlySet<string>;
  /**
   * Gives them up within a transaction that says what became of the objects.
   * @throws `lease-lost` if they lapsed meanwhile: then the transaction must not be
   */
  settle(db: Kysely<Schema>): Promise<void>;
  /** To be called once that transaction is committed. */
  settled(): void;
  /** Gives them up by themselves: the objects are as the database says. */
  release(): Promise<void>;
  /**
   * Without either of these, they are left to lapse at once: whoever looks after lapsed leases then finds out what the
   * bucket has.
   */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Sees to it that one holder at a time, over all replicas, changes an object of the bucket or runs a job. The database holds
 * who it is. A holder that dies is overcome when its time is up; one that was only away finds out before its changes count.
 */
export class Leases {
  readonly #database: Database;
  readonly #times: LeaseTimes;

  constructor(database: Database, times: LeaseTimes = leaseTimes()) {
    this.#database = database;
    this.#times = times;
  }

  get times(): LeaseTimes {
    return this.#times;
  }

  /** Takes all of `objects` or, when somebody holds one of them, none. */
  async tryTake(cacheId: number, objects: readonly string[]): Promise<Lease | undefined> {
    const lease = await this.tryTakeSome(cacheId, objects);
    if (lease.objects.size === new Set(objects).size) return lease;
    await lease[Symbol.asyncDispose]();
    return undefined;
  }

  /** Takes those of `objects` that nobody holds. */
  async tryTakeSome(cacheId: number, objects: readonly string[]): Promise<Lease> {
    const sorted = [...new Set(objects)].sort();
    const holder = randomUUID();
    const now = Date.now();
    const rows = sorted.map((object) => ({
      cache_id: cacheId,
      object,
      holder,
      until: now + this.#times.duration,
    }));
    const taken = await transact(this.#database, (db) => takeLeases(db, rows, now - this.#times.margin));
    return this.#hold(cacheId, taken, holder);
  }

  /** Takes all of `objects`, waiting for whoever holds them. @throws `lease-busy` when that takes too long */
  async take(
    cacheId: number,
    objects: readonly string[],
    {
      patience = this.#times.patience,
      signal,
    }: { readonly patience?: number; readonly signal?: AbortSignal } = {},
  ): Promise<Lease> {
    const deadline = Date.now() + patience;
    for (let pause = 20; ; pause = Math.min(pause * 1.5, 1000)) {
      signal?.throwIfAborted();
      const lease = await this.tryTake(cacheId, objects);
      if (lease !== undefined) return lease;
      if (Date.now() > deadline)
        throw new ServerError('lease-busy', `somebody else is busy with ${objects.slice(0, 3).join(', ')}`);
      await delay(pause * (0.5 + Math.random()));
    }
  }

  #hold(cacheId: number, objects: readonly string[], holder: string): Lease {
    const database = this.#database;
    const { duration } = this.#times;
    let renewing: Promise<void> = Promise.resolve();
    const timer = setInterval(() => {
      const until = Date.now() + duration;
      renewing = extendLeases(database.write, holder, { cacheId, objects, until }).catch(() => undefined);
    }, duration / 3);
    timer.unref();
    let isOver = false;
    const end = async (): Promise<void> => {
      isOver = true;
      clearInterval(timer);
      await renewing;
    };
    return {
      objects: new Set(objects),
      async settle(db) {
        const held = await deleteLeases(db, holder, { cacheId, objects });
        if (held !== objects.length)
          throw new ServerError('lease-lost', 'the server was away for too long in the middle of this');
      },
      settled() {
        isOver = true;
        clearInterval(timer);
      },
      async release() {
        await end();
        await deleteLeases(database.write, holder, { cacheId, objects });
      },
      async [Symbol.asyncDispose]() {
        if (isOver) return;
        await end();
        if (objects.length > 0)
          await extendLeases(database.write, holder, { cacheId, objects, until: 0 }).catch(() => undefined);
      },
    };
  }
}
