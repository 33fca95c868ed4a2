import { formatCacheInfo } from '@larder/signing/cache-info';
import { PublicKey, SecretKey } from '@larder/signing/key';
import { StoreDir } from '@larder/signing/store-path';
import type { Database } from '../database/database.js';
import {
  type CacheRow,
  deleteCache,
  insertCache,
  queryCache,
  queryCaches,
  queryPublicNames,
  updateCache,
} from '../database/tables/caches.js';
import {
  deleteSigningKey,
  insertSigningKey,
  querySigningKeys,
  updateSigningKey,
} from '../database/tables/signing-keys.js';
import { ServerError } from '../errors.js';
import { objectKeys } from '../storage/object-key.js';
import type { ObjectStorage } from '../storage/storage.js';
import { type Cache, checkCacheName } from './cache.js';
import { type CacheOptions, parseCacheOptions } from './cache-options.js';
import { formatCacheSettings } from './cache-settings.js';
import { KeyFiles } from './key-files.js';
import type { KeySeal } from './key-seal.js';

export interface NewCache {
  readonly name: string;
  readonly public: boolean;
  readonly priority?: number;
  readonly storeDir: StoreDir;
  /** What it signs with, of a cache that another server had; without them it gets a key of its own. */
  readonly keys?: readonly SecretKey[];
  /** Keys whose secret half is lost, but which published paths are signed with. */
  readonly retiredKeys?: readonly PublicKey[];
  readonly options?: CacheOptions | undefined;
  /** Names that keys of others have, which signed what is there already. */
  readonly foreignKeyNames?: readonly string[];
}

export interface CacheDirectoryOptions {
  readonly database: Database;
  readonly storage: ObjectStorage;
  readonly seal: KeySeal;
  /** For `KeyFiles`: without the database (and the bucket holds no secrets) nothing could go on signing in the same name. */
  readonly keyDirectory: string;
}

/** How long a cache's settings are taken as read, in milliseconds: other replicas' changes show after that. */
const FRESH = 1000;
/** cache.nixos.org has 40; one's own cache comes first. */
const DEFAULT_PRIORITY = 30;
const DELETE_BATCH = 1000;

/** The caches of this server: finds and makes them. */
export class CacheDirectory {
  readonly #database: Database;
  readonly #storage: ObjectStorage;
  readonly #seal: KeySeal;
  readonly #keyFiles: KeyFiles;
  readonly #known = new Map<string, { readonly cache: Cache; readonly until: number }>();
  #public: { readonly names: Promise<ReadonlySet<string>>; readonly until: number } | undefined;

  constructor(options: CacheDirectoryOptions) {
    this.#database = options.database;
    this.#storage = options.storage;
    this.#seal = options.seal;
    this.#keyFiles = new KeyFiles(options.keyDirectory);
  }

  /**
   * Whether there is such a cache and everyone may read it. That takes as long for a private cache as for one that does not
   * exist: the names of all public ones are known, and nothing is looked up that only one of the two has.
   */
  async isPublic(name: string): Promise<boolean> {
    const known = this.#public;
    if (known !== undefined && known.until > Date.now()) return (await known.names).has(name);
    const names = queryPublicNames(this.#database.read).then((all) => new Set(all));
    const asked = { names, until: Date.now() + FRESH };
    this.#public = asked;
    names.catch(() => {
      if (this.#public === asked) this.#public = undefined;
    });
    return (await names).has(name);
  }

  /** What is known of a cache and counts, without waiting. */
  peek(name: string): Cache | undefined {
    const known = this.#known.get(name);
    return known !== undefined && known.until > Date.now() ? known.cache : undefined;
  }

  async find(name: string): Promise<Cache | undefined> {
    const known = this.peek(name);
    if (known !== undefined) return known;
    const row = await queryCache(this.#database.read, name);
    if (row === undefined) {
      this.#known.delete(name);
      return undefined;
    }
    const cache = await this.#load(row);
    this.#known.set(name, { cache, until: Date.now() + FRESH });
    return cache;
  }

  async list(): Promise<Cache[]> {
    const rows = await queryCaches(this.#database.read);
    return Promise.all(rows.map((row) => this.#load(row)));
  }

  /**
   * Makes a cache with a signing key: those given, or the one a lost database left in the key directory, or else a new one
   * called `<cache>-1`. The bucket gets its files last, so that a crash before leaves nothing but a row, which `restore` completes.
   * @throws `cache-exists`, `cache-name-malformed`
   */
  async create(options: NewCache): Promise<Cache> {
    const name = checkCacheName(options.name);
    const keys = await this.#keysOf(options);
    for (const key of keys) await this.#keyFiles.write(name, key);
    const now = Date.now();
    const row = await this.#database.write.transaction().execute(async (db) => {
      const inserted = await insertCache(db, {
        name,
        public: options.public ? 1 : 0,
        priority: options.priority ?? DEFAULT_PRIORITY,
        store_dir: options.storeDir.path,
        created_at: now,
        settings: JSON.stringify(options.options ?? {}),
      });
      if (inserted === undefined)
        throw new ServerError('cache-exists', `there is a cache '${name}' already`, { fields: { name } });
      for (const key of keys) await insertSigningKey(db, this.#keyRow(inserted.id, key));
      for (const key of options.retiredKeys ?? [])
        await insertSigningKey(db, {
          cache_id: inserted.id,
          name: key.name,
          public_key: key.format(),
          sealed_secret: Buffer.alloc(0),
          active: 0,
          created_at: now,
        });
      return inserted;
    });
    this.#public = undefined;
    const cache = await this.#load(row);
    await this.publishSettings(cache);
    return cache;
  }

  /** Changes a cache's settings; gives the cache as it is then. */
  async configure(
    cache: Cache,
    change: {
      readonly public?: boolean | undefined;
      readonly priority?: number | undefined;
      /** Replaces those it names; `undefined` takes one away. */
      readonly options?: CacheOptions | undefined;
    },
  ): Promise<Cache> {
    const columns = {
      ...(change.public === undefined ? {} : { public: change.public ? 1 : 0 }),
      ...(change.priority === undefined ? {} : { priority: change.priority }),
      ...(change.options === undefined
        ? {}
        : { settings: JSON.stringify({ ...cache.options, ...change.options }) }),
    };
    if (Object.keys(columns).length > 0) await updateCache(this.#database.write, cache.id, columns);
    return this.#changed(cache.name);
  }

  /**
   * Makes a new signing key, which signs from now on beside the others.
   * @throws `key-exists`, `key-malformed`
   */
  async addKey(cache: Cache, name?: string): Promise<Cache> {
    const taken = cache.publicKeys.map((each) => each.name);
    return this.importKey(cache, SecretKey.generate(name ?? freeKeyName(cache.name, taken)));
  }

  /** Takes a signing key that was made elsewhere, likewise. @throws `key-exists` */
  async importKey(cache: Cache, key: SecretKey): Promise<Cache> {
    if (cache.publicKeys.some((each) => each.name === key.name))
      throw new ServerError('key-exists', `the cache has a key '${key.name}' already`);
    await this.#keyFiles.write(cache.name, key);
    await insertSigningKey(this.#database.write, this.#keyRow(cache.id, key));
    return this.#changed(cache.name);
  }

  /**
   * Takes a key out of use, or into it again. Clients still need the public half for what it signed, so it stays listed.
   * @throws `not-found`, and `key-last` for the only one in use
   */
  async setKeyActive(cache: Cache, name: string, active: boolean): Promise<Cache> {
    const others = cache.signingKeys.filter((key) => key.name !== name);
    if (!active && others.length === 0 && cache.signingKeys.length > 0)
      throw new ServerError('key-last', `'${name}' is the only key in use; make another one first`);
    if (!(await updateSigningKey(this.#database.write, { cacheId: cache.id, name }, active)))
      throw new ServerError('not-found', `the cache has no key '${name}'`);
    return this.#changed(cache.name);
  }

  /** Forgets a key that is out of use. @throws `not-found`, `key-in-use` */
  async removeKey(cache: Cache, name: string): Promise<Cache> {
    if (cache.signingKeys.some((key) => key.name === name))
      throw new ServerError('key-in-use', `'${name}' still signs; retire it first`);
    if (!(await deleteSigningKey(this.#database.write, { cacheId: cache.id, name })))
      throw new ServerError('not-found', `the cache has no key '${name}'`);
    await this.#keyFiles.delete(cache.name, name);
    return this.#changed(cache.name);
  }

  /**
   * Deletes a cache and everything in it. First what makes it a cache goes from the bucket, so that no reindex finds it
   * again; then the rows, and it is gone for clients; then the objects, which a crash may leave to the next deletion.
   */
  async delete(cache: Cache): Promise<void> {
    await this.#storage.delete([objectKeys.settings(cache.name), objectKeys.cacheInfo(cache.name)]);
    await this.#database.write.transaction().execute((db) => deleteCache(db, cache.id));
    this.#known.delete(cache.name);
    this.#public = undefined;
    let batch: string[] = [];
    for await (const { key } of this.#storage.list(`${cache.name}/`)) {
      if (batch.push(key) < DELETE_BATCH) continue;
      await this.#storage.delete(batch);
      batch = [];
    }
    await this.#storage.delete(batch);
  }

  /** Reads a cache anew after a change, and tells the bucket. */
  async #changed(name: string): Promise<Cache> {
    this.#known.delete(name);
    this.#public = undefined;
    const row = await queryCache(this.#database.write, name);
    if (row === undefined) throw new ServerError('not-found', `there is no cache '${name}'`);
    const cache = await this.#load(row);
    await this.publishSettings(cache);
    return cache;
  }

  #keyRow(cacheId: number, key: SecretKey): Parameters<typeof insertSigningKey>[1] {
    return {
      cache_id: cacheId,
      name: key.name,
      public_key: key.publicKey().format(),
      sealed_secret: this.#seal.seal(key),
      active: 1,
      created_at: Date.now(),
    };
  }

  /** Writes what the bucket says of a cache. */
  async publishSettings(cache: Cache): Promise<void> {
    await this.#storage.put(objectKeys.settings(cache.name), Buffer.from(formatCacheSettings(cache)), {
      contentType: 'application/json',
    });
    await this.#storage.put(objectKeys.cacheInfo(cache.name), Buffer.from(cacheInfoText(cache)), {
      contentType: 'text/x-nix-cache-info',
    });
  }

  async #load(row: CacheRow): Promise<Cache> {
    const keys = await querySigningKeys(this.#database.read, row.id);
    return {
      id: row.id,
      name: row.name,
      public: row.public === 1,
      priority: row.priority,
      storeDir: new StoreDir(row.store_dir),
      options: parseCacheOptions(JSON.parse(row.settings)),
      signingKeys: keys
        .filter((key) => key.active === 1)
        .map((key) => this.#seal.unseal(key.name, key.sealed_secret)),
      publicKeys: keys.map((key) => PublicKey.parse(key.public_key)),
    };
  }

  async #keysOf({
    name,
    keys,
    retiredKeys = [],
    foreignKeyNames = [],
  }: NewCache): Promise<readonly SecretKey[]> {
    if (keys !== undefined && keys.length > 0) return keys;
    const kept = await this.#keyFiles.read(name);
    const taken = [...retiredKeys.map((key) => key.name), ...foreignKeyNames];
    return kept.length > 0 ? kept : [SecretKey.generate(freeKeyName(name, taken))];
  }
}

/** `<cache>-1`, or the next number that no other key has. */
function freeKeyName(cache: string, names: readonly string[]): string {
  const taken = new Set(names);
  let number = 1;
  while (taken.has(`${cache}-${number}`)) number++;
  return `${cache}-${number}`;
}

/** A cache's `nix-cache-info`. */
export function cacheInfoText(cache: Cache): string {
  return formatCacheInfo({ storeDir: cache.storeDir.path, wantMassQuery: true, priority: cache.priority });
}
