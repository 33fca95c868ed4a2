import type { DeltaOffer, WantedDelta } from '@larder/signing/download';
import type { Logger } from 'pino';
import type { Cache } from '../caches/cache.js';
import type { Database } from '../database/database.js';
import {
  type DeltaRow,
  queryDelta,
  queryDeltas,
  touchDeltas,
  upsertDelta,
} from '../database/tables/deltas.js';
import { type NarRow, queryNars } from '../database/tables/nars.js';
import { ServerError } from '../errors.js';
import { objectKeys } from '../storage/object-key.js';
import type { ObjectStorage } from '../storage/storage.js';
import type { DeltaMaker, DeltaOrder } from './delta-maker.js';

export interface DeltaStoreOptions {
  readonly database: Database;
  readonly storage: ObjectStorage;
  readonly maker: DeltaMaker;
  readonly logger: Logger;
}

/** A delta that is not a good deal smaller than the NAR is not kept: applying it costs time. */
const WORTH = 0.8;

/** NARs of which no delta is worth asking for, in bytes as they are stored. */
const SMALLEST = 512;

/** Seconds of work beyond which no more deltas are promised: the NAR would be there sooner. */
const LONGEST_BACKLOG = 60;

const DAY = 86_400_000;

/** A delta's name: of what it is to, and of what it gives. Hashes are nix32 without a prefix. */
export interface DeltaName {
  readonly base: string;
  readonly narHash: string;
}

interface Pair {
  readonly base: NarRow;
  readonly next: NarRow;
}

/**
 * The deltas of all caches: objects `<cache>/delta/<base>/<NAR>.zst`, made on first demand, once for any number of clients,
 * and kept like a cache (see `delta-retention.ts`).
 *
 * Crash invariants: the object comes before its row, and one without a row is made again over itself. Losing all of them
 * loses nothing but time. A client checks what it gets by the NarHash, so nothing here has to be trusted.
 */
export class DeltaStore {
  readonly #options: DeltaStoreOptions;
  /** Those being made, by their key. */
  readonly #making = new Map<string, Making>();

  constructor(options: DeltaStoreOptions) {
    this.#options = options;
  }

  /**
   * For each NAR the delta that is best for a client that has one of the bases: the smallest there is, or the first
   * that can be made, which is begun then.
   */
  async offer(cache: Cache, wanted: readonly WantedDelta[]): Promise<DeltaOffer[]> {
    const { database } = this.#options;
    const narHashes = wanted.map(({ narHash }) => narHash);
    const rows = groupByNar(await queryDeltas(database.read, cache.id, narHashes));
    const hashes = new Set([...narHashes, ...wanted.flatMap(({ bases }) => bases)]);
    const nars = await queryNars(database.read, cache.id, [...hashes]);
    const offers: DeltaOffer[] = [];
    for (const { narHash, bases } of wanted) {
      const next = nars.get(narHash);
      if (next === undefined || next.file_size < SMALLEST) continue;
      const known = (rows.get(narHash) ?? []).filter(({ base_hash }) => bases.includes(base_hash));
      const offer = bestKnown(known) ?? this.#begin(cache, next, { known, bases, nars });
      if (offer !== undefined) offers.push(offer);
    }
    await this.#noteUse(cache, rows, offers);
    return offers;
  }

  /** The delta's size once it is there: made if need be. `undefined` when there is none and will be none. */
  async ensure(cache: Cache, base: string, narHash: string): Promise<number | undefined> {
    const { database } = this.#options;
    const row = await queryDelta(database.read, cache.id, { base, narHash });
    if (row !== undefined) return row.size ?? undefined;
    const nars = await queryNars(database.read, cache.id, [base, narHash]);
    const pair = { base: nars.get(base), next: nars.get(narHash) };
    if (!isPair(pair) || !this.#accepts(pair)) return undefined;
    return (await this.#make(cache, pair).row)?.size ?? undefined;
  }

  /**
   * Takes a delta that a publisher made, once it proved to be right; false for one that saves too little to be kept.
   * @throws `not-found` for archives that are not there, `delta-refused`
   */
  async accept(cache: Cache, { base, narHash }: DeltaName, delta: Uint8Array): Promise<boolean> {
    const { database, maker } = this.#options;
    const nars = await queryNars(database.read, cache.id, [base, narHash]);
    const pair = { base: nars.get(base), next: nars.get(narHash) };
    if (!isPair(pair))
      throw new ServerError('not-found', `there is no NAR sha256:${nars.has(base) ? narHash : base}`);
    if (!this.#accepts(pair))
      throw new ServerError(
        'delta-refused',
        'no deltas are kept between these: one is too large, or as another tool stored it',
      );
    if (!(await maker.check(cache.name, { base: side(pair.base), next: side(pair.next), delta })))
      throw new ServerError('delta-refused', `this is no delta from sha256:${base} to sha256:${narHash}`);
    return (await this.#keep(cache, pair, delta)).size !== null;
  }

  #begin(cache: Cache, next: NarRow, { known, bases, nars }: BeginOptions): DeltaOffer | undefined {
    const { maker } = this.#options;
    const tried = new Set(known.map(({ base_hash }) => base_hash));
    for (const hash of bases) {
      const base = nars.get(hash);
      if (base === undefined || tried.has(hash) || !this.#accepts({ base, next })) continue;
      const isNew = !this.#making.has(keyOf(cache, { base, next }));
      if (isNew && maker.backlog > LONGEST_BACKLOG) return undefined;
      const { seconds } = this.#make(cache, { base, next });
      return { narHash: next.nar_hash, base: hash, seconds: Math.ceil(seconds * 1000) / 1000 };
    }
    return undefined;
  }

  /** NARs that another tool stored lie elsewhere and may be packed in another way: there are no deltas between those. */
  #accepts(pair: Pair): boolean {
    return pair.base.file === null && pair.next.file === null && this.#options.maker.accepts(orderOf(pair));
  }

  /** Its row never rejects: a delta that cannot be made is one that is not there. */
  #make(cache: Cache, pair: Pair): Making {
    const key = keyOf(cache, pair);
    const known = this.#making.get(key);
    if (known !== undefined) return known;
    const job = this.#options.maker.make(cache.name, orderOf(pair));
    const row = job.result
      .then((delta) => this.#keep(cache, pair, delta))
      .catch((error: unknown) => {
        this.#options.logger.warn({ err: error, key }, 'cannot make a delta');
        return undefined;
      })
      .finally(() => this.#making.delete(key));
    const making = {
      row,
      get seconds() {
        return job.seconds;
      },
    };
    this.#making.set(key, making);
    return making;
  }

  async #keep(cache: Cache, pair: Pair, delta: Uint8Array | undefined): Promise<DeltaRow> {
    const { database, storage } = this.#options;
    const { base, next } = pair;
    const key = keyOf(cache, pair);
    const isWorth = delta !== undefined && delta.length <= orderOf(pair).maxSize;
    if (isWorth) await storage.put(key, delta, { contentType: 'application/zstd' });
    const now = Date.now();
    const row: DeltaRow = {
      cache_id: cache.id,
      base_hash: base.nar_hash,
      nar_hash: next.nar_hash,
      size: isWorth ? delta.length : null,
      created_at: now,
      used_at: now,
    };
    await upsertDelta(database.write, row);
    return row;
  }

  async #noteUse(
    cache: Cache,
    rows: ReadonlyMap<string, readonly DeltaRow[]>,
    offers: readonly DeltaOffer[],
  ): Promise<void> {
    const now = Date.now();
    const stale = offers.filter(({ narHash }) =>
      rows.get(narHash)?.some(({ used_at }) => used_at < now - DAY),
    );
    const narHashes = stale.map(({ narHash }) => narHash);
    if (narHashes.length > 0)
      await touchDeltas(this.#options.database.write, { cacheId: cache.id, now }, narHashes);
  }
}

/** A delta under way. */
interface Making {
  readonly row: Promise<DeltaRow | undefined>;
  /** Seconds until it is there, roughly. */
  readonly seconds: number;
}

interface BeginOptions {
  readonly known: readonly DeltaRow[];
  readonly bases: readonly string[];
  readonly nars: ReadonlyMap<string, NarRow>;
}

function bestKnown(rows: readonly DeltaRow[]): DeltaOffer | undefined {
  let best: DeltaOffer | undefined;
  for (const { nar_hash: narHash, base_hash: base, size } of rows) {
    if (size === null || (best?.size ?? Infinity) <= size) continue;
    best = { narHash, base, size };
  }
  return best;
}

function groupByNar(rows: readonly DeltaRow[]): Map<string, DeltaRow[]> {
  const groups = new Map<string, DeltaRow[]>();
  for (const row of rows) {
    const group = groups.get(row.nar_hash);
    if (group === undefined) groups.set(row.nar_hash, [row]);
    else group.push(row);
  }
  return groups;
}

function isPair(pair: { base: NarRow | undefined; next: NarRow | undefined }): pair is Pair {
  return pair.base !== undefined && pair.next !== undefined;
}

function keyOf(cache: Cache, { base, next }: Pair): string {
  return objectKeys.delta(cache.name, base.nar_hash, next.nar_hash);
}

function orderOf({ base, next }: Pair): DeltaOrder {
  return { base: side(base), next: side(next), maxSize: Math.floor(next.file_size * WORTH) };
}

function side({ nar_hash: narHash, nar_size: narSize }: NarRow) {
  return { narHash, narSize };
}
