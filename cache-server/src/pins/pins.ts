import { type StorePath, storePathHashPart, storePathName } from '@larder/signing/store-path';
import type { Kysely, Transaction } from 'kysely';
import type { Cache } from '../caches/cache.js';
import type { Database } from '../database/database.js';
import type { Schema } from '../database/schema.js';
import { lockPaths } from '../database/tables/paths.js';
import {
  deletePin,
  deletePinRevisions,
  insertPinRevision,
  type PinRow,
  queryCurrentRevisions,
  queryPin,
  queryPinPaths,
  queryPinRevisions,
  queryPins,
  updateKeptRevisions,
  upsertPin,
} from '../database/tables/pins.js';
import { transact } from '../database/transaction.js';
import { ServerError } from '../errors.js';
import { KeyedLock } from '../keyed-lock.js';
import { objectKeys } from '../storage/object-key.js';
import type { ObjectStorage } from '../storage/storage.js';
import { formatPinFile, type PinHistory, type PinRevision } from './pin-file.js';

/** A revision, and whether its paths are kept. */
export interface KeptRevision extends PinRevision {
  readonly kept: boolean;
}

export interface Pin extends PinHistory {
  /** Newest first; in a list of pins only the newest. */
  readonly revisions: readonly KeptRevision[];
}

export interface NewRevision {
  readonly name: string;
  readonly paths: readonly StorePath[];
  /** `undefined` leaves it as it is, null goes back to the cache's own. */
  readonly keepLast?: number | null | undefined;
  /** Milliseconds; likewise. */
  readonly keepFor?: number | null | undefined;
  /** Whose token it is. */
  readonly by?: string | undefined;
}

/** Revisions of a pin that are kept if neither it nor its cache says otherwise. */
export const DEFAULT_KEEP_LAST = 1;

/** Most revisions that a pin remembers; those that are kept stay beyond it. */
const MAX_HISTORY = 1000;

/**
 * Names that keep paths, and with them their closures, from being collected.
 *
 * A pin is made in the transaction that looks whether its paths are there and locks them, and a collection looks for pins in
 * the transaction that withdraws: so either the pin finds its paths gone, or the collection finds the pin. The bucket gets a
 * copy of each pin afterwards; a crash in between leaves an older copy, which the pin's next change replaces.
 */
export class Pins {
  readonly #database: Database;
  readonly #storage: ObjectStorage;
  readonly #locks = new KeyedLock();

  constructor(options: { readonly database: Database; readonly storage: ObjectStorage }) {
    this.#database = options.database;
    this.#storage = options.storage;
  }

  /** The pins of a cache, each with its newest revision, by name. */
  async list(cache: Cache): Promise<Pin[]> {
    const db = this.#database.read;
    const [rows, current] = await Promise.all([queryPins(db, cache.id), queryCurrentRevisions(db, cache.id)]);
    const byPin = new Map(current.map((row) => [row.pin, row]));
    return Promise.all(
      rows.map(async (row) => {
        const newest = byPin.get(row.name);
        if (newest === undefined) return describe(row, []);
        const paths = await queryPinPaths(db, cache.id, { pin: row.name, revision: newest.revision });
        return describe(row, [{ ...newest, paths }]);
      }),
    );
  }

  /** A pin with its whole history. */
  async find(cache: Cache, name: string): Promise<Pin | undefined> {
    return read(this.#database.read, cache.id, name);
  }

  /**
   * Makes a pin stand for `paths`: a new revision, unless it stands for them already.
   * @returns the pin, and whether that changed what it stands for
   * @throws `pin-name-malformed`, `pin-path-missing`
   */
  async pin(cache: Cache, options: NewRevision): Promise<{ readonly pin: Pin; readonly isNew: boolean }> {
    const name = checkPinName(options.name);
    const result = await transact(this.#database, async (db) => {
      await requirePaths(db, cache, options.paths);
      const known = await queryPin(db, cache.id, name);
      await upsertPin(db, {
        cache_id: cache.id,
        name,
        keep_last: options.keepLast === undefined ? (known?.keep_last ?? null) : options.keepLast,
        keep_for: options.keepFor === undefined ? (known?.keep_for ?? null) : options.keepFor,
        created_at: known?.created_at ?? Date.now(),
      });
      const isNew = await addRevision(db, cache, options);
      await refreshKept(db, cache, name);
      return { pin: (await read(db, cache.id, name)) as Pin, isNew };
    });
    await this.#publish(cache, name);
    return result;
  }

  /** Takes a pin away, its history with it. @returns false when there is none of that name */
  async delete(cache: Cache, name: string): Promise<boolean> {
    const existed = await transact(this.#database, (db) => deletePin(db, cache.id, name));
    if (existed) await this.#publish(cache, name);
    return existed;
  }

  /** Lets go of revisions that are kept for a time which has passed, or by an older setting of the cache. */
  async expire(cache: Cache): Promise<void> {
    for (const { name, keep_for, keep_last } of await queryPins(this.#database.read, cache.id))
      if (keep_for !== null || keep_last === null)
        await transact(this.#database, (db) => refreshKept(db, cache, name));
  }

  /** Takes over what the bucket has of a pin the database does not know; paths that are not there are history. */
  async restore(cache: Cache, history: PinHistory): Promise<boolean> {
    return transact(this.#database, async (db) => {
      if ((await queryPin(db, cache.id, history.name)) !== undefined) return false;
      await upsertPin(db, {
        cache_id: cache.id,
        name: checkPinName(history.name),
        keep_last: history.keepLast ?? null,
        keep_for: history.keepFor ?? null,
        created_at: history.createdAt,
      });
      for (const revision of history.revisions) await insert(db, cache, { pin: history.name, revision });
      await refreshKept(db, cache, history.name);
      return true;
    });
  }

  /** Writes the bucket's copy as the database has it by then: of changes at once, the last one writes the last state. */
  async #publish(cache: Cache, name: string): Promise<void> {
    await this.#locks.run([`${cache.id}/${name}`], async () => {
      const key = objectKeys.pin(cache.name, name);
      const pin = await read(this.#database.write, cache.id, name);
      if (pin === undefined) return this.#storage.delete([key]);
      const revisions = pin.revisions.map(({ kept: _, ...revision }) => revision);
      await this.#storage.put(key, Buffer.from(formatPinFile({ ...pin, revisions })), {
        contentType: 'application/json',
      });
    });
  }
}

/** @throws `pin-name-malformed` */
export function checkPinName(name: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9._+-]{0,99}$/.test(name)) return name;
  throw new ServerError(
    'pin-name-malformed',
    `'${name}' cannot name a pin: use up to 100 letters, digits and any of . _ + -, starting with a letter or digit`,
  );
}

/** @throws `pin-path-missing` unless the cache has every path; they stay until the transaction ends. */
async function requirePaths(
  db: Transaction<Schema>,
  cache: Cache,
  paths: readonly StorePath[],
): Promise<void> {
  const names = await lockPaths(db, cache.id, paths.map(storePathHashPart));
  const missing = paths.filter((path) => names.get(storePathHashPart(path)) !== storePathName(path));
  if (missing.length === 0) return;
  throw new ServerError(
    'pin-path-missing',
    `the cache '${cache.name}' does not have ${missing.slice(0, 5).join(', ')}; push it first, then pin it`,
    { fields: { paths: missing } },
  );
}

async function addRevision(
  db: Transaction<Schema>,
  cache: Cache,
  { name, paths, by }: NewRevision,
): Promise<boolean> {
  const wanted = [...new Set(paths)].sort();
  const [newest] = await queryPinRevisions(db, cache.id, name);
  if (newest !== undefined) {
    const current = await queryPinPaths(db, cache.id, { pin: name, revision: newest.revision });
    if (current.map((row) => `${row.hash_part}-${row.name}`).join() === wanted.join()) return false;
  }
  const number = (newest?.revision ?? 0) + 1;
  const revision = { revision: number, paths: wanted, createdAt: Date.now(), createdBy: by };
  await insert(db, cache, { pin: name, revision });
  return true;
}

async function insert(
  db: Transaction<Schema>,
  cache: Cache,
  { pin, revision: { revision, paths, createdAt, createdBy } }: { pin: string; revision: PinRevision },
): Promise<void> {
  await insertPinRevision(
    db,
    {
      cache_id: cache.id,
      pin,
      revision,
      created_at: createdAt,
      created_by: createdBy ?? null,
      kept: 1,
    },
    paths.map((path) => ({
      cache_id: cache.id,
      pin,
      revision,
      hash_part: storePathHashPart(path),
      name: storePathName(path),
    })),
  );
}

/** Decides which revisions of a pin are kept: the newest few, and those that are not old yet. */
async function refreshKept(db: Transaction<Schema>, cache: Cache, name: string): Promise<void> {
  const pin = await queryPin(db, cache.id, name);
  if (pin === undefined) return;
  const revisions = await queryPinRevisions(db, cache.id, name);
  const keepLast = pin.keep_last ?? cache.options.retention?.keepLast ?? DEFAULT_KEEP_LAST;
  const since = pin.keep_for === null ? Number.POSITIVE_INFINITY : Date.now() - pin.keep_for;
  const kept = revisions.filter((each, index) => index < keepLast || each.created_at >= since);
  await updateKeptRevisions(
    db,
    { cacheId: cache.id, name },
    kept.map((each) => each.revision),
  );
  const forgotten = revisions.slice(MAX_HISTORY).find((each) => !kept.includes(each));
  if (forgotten !== undefined) await deletePinRevisions(db, { cacheId: cache.id, name }, forgotten.revision);
}

async function read(db: Kysely<Schema>, cacheId: number, name: string): Promise<Pin | undefined> {
  const row = await queryPin(db, cacheId, name);
  if (row === undefined) return undefined;
  const revisions = await queryPinRevisions(db, cacheId, name);
  const paths = await queryPinPaths(db, cacheId, { pin: name });
  return describe(
    row,
    revisions.map((each) => ({ ...each, paths: paths.filter((path) => path.revision === each.revision) })),
  );
}

type RevisionRows = Awaited<ReturnType<typeof queryPinRevisions>>[number] & {
  readonly paths: Awaited<ReturnType<typeof queryPinPaths>>;
};

function describe(row: PinRow, revisions: readonly RevisionRows[]): Pin {
  return {
    name: row.name,
    createdAt: row.created_at,
    ...(row.keep_last === null ? {} : { keepLast: row.keep_last }),
    ...(row.keep_for === null ? {} : { keepFor: row.keep_for }),
    revisions: revisions.map((each) => ({
      revision: each.revision,
      paths: each.paths.map((path) => `${path.hash_part}-${path.name}` as StorePath),
      createdAt: each.created_at,
      ...(each.created_by === null ? {} : { createdBy: each.created_by }),
      kept: each.kept === 1,
    })),
  };
}
