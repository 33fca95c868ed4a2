import { parseCacheInfo } from '@larder/signing/cache-info';
import { isCompression } from '@larder/signing/compression';
import { formatContentAddress } from '@larder/signing/content-address';
import { formatNarInfo, type NarInfo, parseNarInfo } from '@larder/signing/narinfo';
import { StoreDir, storePathHashPart, storePathName } from '@larder/signing/store-path';
import type { Transaction } from 'kysely';
import { type Cache, isCacheName } from './caches/cache.js';
import { parseCacheSettings } from './caches/cache-settings.js';
import { leaseOf } from './collect/withdraw.js';
import type { Schema } from './database/schema.js';
import { recountUsage } from './database/tables/cache-usage.js';
import { insertNameParts } from './database/tables/name-parts.js';
import { upsertNarFile } from './database/tables/nar-files.js';
import { claimNars, insertNar, narCompression, queryNar } from './database/tables/nars.js';
import { insertReferences } from './database/tables/path-references.js';
import { deleteDanglingPaths, insertPath } from './database/tables/paths.js';
import { Leases } from './leases/leases.js';
import { parsePinFile } from './pins/pin-file.js';
import { Pins } from './pins/pins.js';
import { bareHash } from './publish/narinfo-text.js';
import { isNarFileName } from './publish/stock-publisher.js';
import type { Foundation } from './start.js';
import { narPath, narUrlPath, objectKeys, pinPrefix } from './storage/object-key.js';
import { type ObjectStorage, readObject } from './storage/storage.js';

/** What a reindex found in one cache. */
export interface Reindexed {
  readonly cache: string;
  /** Paths taken into the database that it did not have. */
  added: number;
  /** Paths left out, and why. */
  readonly refused: { readonly narinfo: string; readonly why: string }[];
  /** Paths taken out again because something they refer to is not there. */
  dangling: number;
}

/** Narinfos read at once, and written in one transaction. */
const BATCH = 64;

/**
 * Rebuilds the database from the bucket: every narinfo whose NAR is there becomes a path again. What is in the database
 * stays. Safe beside a running server, and to run again.
 */
export async function reindex(foundation: Foundation): Promise<Reindexed[]> {
  const results: Reindexed[] = [];
  for (const name of await foundation.storage.listCaches()) {
    if (!isCacheName(name)) continue;
    const cache = await restoreCache(foundation, name);
    if (cache === undefined) continue;
    const result = await reindexCache(foundation, cache);
    foundation.logger.info(
      { cache: name, added: result.added, refused: result.refused.length, dangling: result.dangling },
      'rebuilt the index of a cache',
    );
    results.push(result);
  }
  return results;
}

/** The cache of that name, made again from what the bucket says of it if the database has lost it. */
async function restoreCache(
  { caches, storage, logger }: Foundation,
  name: string,
): Promise<Cache | undefined> {
  const known = await caches.find(name);
  if (known !== undefined) return known;
  const info = await readObject(storage, objectKeys.cacheInfo(name));
  if (info === undefined) return undefined;
  const { storeDir, priority } = parseCacheInfo(info.toString());
  const settings = parseCacheSettings(
    (await readObject(storage, objectKeys.settings(name)))?.toString() ?? '',
  );
  // Whether everyone may read it is not to be guessed.
  const cache = await caches.create({
    name,
    public: settings?.public ?? false,
    priority,
    storeDir: new StoreDir(storeDir),
    retiredKeys: settings?.publicKeys ?? [],
    options: settings?.options,
    // Two keys of one name cannot both be trusted by a client: ours must not be called as the one that signed what is there.
    foreignKeyNames: settings === undefined ? await listKeyNames(storage, name) : [],
  });
  if (cache.publicKeys.length > cache.signingKeys.length)
    logger.warn(
      { cache: name, signingKeys: cache.signingKeys.map((key) => key.name) },
      'secret keys were lost with the database: what is published keeps its signatures, new paths get others',
    );
  return cache;
}

/** Narinfos that are looked into for the names of keys: a cache has few keys, and each signed many paths. */
const SAMPLE = 200;

/** The names of the keys that signed a cache which another tool made. */
async function listKeyNames(storage: ObjectStorage, cache: string): Promise<string[]> {
  const names = new Set<string>();
  let seen = 0;
  for await (const { key } of storage.list(`${cache}/`)) {
    if (!/^[^/]+\/[^/]+\.narinfo$/.test(key)) continue;
    const text = (await readObject(storage, key))?.toString() ?? '';
    for (const [, name = ''] of text.matchAll(/^Sig: ([^:\n]+):/gm)) names.add(name);
    if (++seen >= SAMPLE) break;
  }
  return [...names];
}

export async function reindexCache(foundation: Foundation, cache: Cache): Promise<Reindexed> {
  const { storage, database } = foundation;
  const leases = new Leases(database);
  const nars = await listNars(foundation, cache);
  const result: Reindexed = { cache: cache.name, added: 0, refused: [], dangling: 0 };
  let batch: string[] = [];
  const flush = async (): Promise<void> => {
    const keys = batch;
    batch = [];
    // Nobody withdraws or publishes these while they are read and recorded.
    const objects = keys.map((key) => leaseOf(/([^/]+)\.narinfo$/.exec(key)?.[1] ?? ''));
    await using lease = await leases.take(cache.id, objects);
    const texts = await Promise.all(keys.map((key) => readObject(storage, key)));
    const sound = keys.flatMap((key, index) => {
      if (texts[index] === undefined) return [];
      const path = examine(cache, { key, text: texts[index].toString(), nars });
      if ('why' in path) result.refused.push({ narinfo: key, why: path.why });
      return 'why' in path ? [] : [path];
    });
    result.added += await record(foundation, cache, sound);
    await lease.release();
  };
  for await (const { key } of storage.list(`${cache.name}/`)) {
    if (!/^[^/]+\/[^/]+\.narinfo$/.test(key)) continue;
    if (batch.push(key) >= BATCH) await flush();
  }
  await flush();
  // What the cache does not have, an upstream may.
  if ((cache.options.upstreams ?? []).length === 0)
    result.dangling = await deleteDanglingPaths(database.write, cache.id);
  await recountUsage(database.write, cache.id, Date.now() + foundation.config.collection.nar_lease);
  await restorePins(foundation, cache);
  return result;
}

async function restorePins({ storage, database, logger }: Foundation, cache: Cache): Promise<void> {
  const pins = new Pins({ database, storage });
  for await (const { key } of storage.list(pinPrefix(cache.name))) {
    const pin = parsePinFile((await readObject(storage, key))?.toString() ?? '');
    if (pin === undefined || key !== objectKeys.pin(cache.name, pin.name))
      logger.warn({ cache: cache.name, key }, 'left out a pin: this is not the file of one');
    else await pins.restore(cache, pin);
  }
}

/** The sizes of the NARs in the bucket, by where they are in the cache. */
async function listNars({ storage }: Foundation, cache: Cache): Promise<Map<string, number>> {
  const nars = new Map<string, number>();
  for await (const { key, size } of storage.list(`${cache.name}/nar/`)) {
    nars.set(key.slice(cache.name.length + 1), size);
  }
  return nars;
}

interface FoundPath {
  readonly info: NarInfo;
  readonly text: string;
  readonly fileSize: number;
  /** Where its NAR is, when another tool put it there. */
  readonly file: string | null;
}

interface Examined {
  readonly key: string;
  readonly text: string;
  readonly nars: ReadonlyMap<string, number>;
}

function examine(cache: Cache, { key, text, nars }: Examined): FoundPath | { readonly why: string } {
  let info: NarInfo;
  try {
    info = parseNarInfo(text, cache.storeDir, key);
  } catch (error) {
    return { why: error instanceof Error ? error.message : String(error) };
  }
  const isOwn = info.url === narUrlPath(bareHash(info.narHash));
  const fileSize = nars.get(info.url);
  if (key !== objectKeys.narInfo(cache.name, storePathHashPart(info.storePath)))
    return { why: `it is about ${info.storePath}` };
  if (!isOwn && !isAdoptable(info)) return { why: `its URL '${info.url}' is not of the form nar/<file>` };
  if (!isCompression(info.compression)) return { why: `its compression '${info.compression}' is not known` };
  if (fileSize === undefined) return { why: `its NAR ${info.url} is not there` };
  if (info.fileSize !== undefined && info.fileSize !== fileSize)
    return { why: `its NAR ${info.url} has ${fileSize} bytes, not ${info.fileSize}` };
  return { info, text: sorted(text, info, cache), fileSize, file: isOwn ? null : info.url };
}

/** Whether a NAR can stay where another tool put it: as stock Nix does, whatever it is called. */
function isAdoptable({ url }: NarInfo): boolean {
  return url.startsWith('nar/') && isNarFileName(url.slice('nar/'.length));
}

/** A narinfo as it was found, unless it begins otherwise than Nix's do, which readers of many go by. */
function sorted(text: string, info: NarInfo, { storeDir }: Cache): string {
  return text.startsWith('StorePath: ') ? text : formatNarInfo(info, storeDir);
}

/** Records where a path's NAR is; gives the narinfo to serve, which differs where the same NAR is here in another form. */
async function recordNar(
  db: Transaction<Schema>,
  cache: Cache,
  { info, text, fileSize, file }: FoundPath,
): Promise<string> {
  const narHash = bareHash(info.narHash);
  const isNew = await insertNar(db, {
    cache_id: cache.id,
    nar_hash: narHash,
    nar_size: info.narSize,
    file_hash: info.fileHash === undefined ? '' : bareHash(info.fileHash),
    file_size: fileSize,
    created_at: Date.now(),
    expires_at: null,
    file,
    compression: file === null ? null : info.compression,
  });
  if (file !== null)
    await upsertNarFile(db, { cache_id: cache.id, file_name: file.slice('nar/'.length), nar_hash: narHash });
  const kept = isNew ? undefined : await queryNar(db, cache.id, narHash);
  if (kept === undefined || kept.file === file) return text;
  const { fileHash: _, ...rest } = info;
  const place = { url: narPath(kept), compression: narCompression(kept), fileSize: kept.file_size };
  return formatNarInfo({ ...rest, ...place }, cache.storeDir);
}

async function record({ database }: Foundation, cache: Cache, paths: readonly FoundPath[]): Promise<number> {
  if (paths.length === 0) return 0;
  await insertNameParts(
    database.write,
    cache.id,
    paths.map(({ info }) => storePathName(info.storePath)),
  );
  return database.write.transaction().execute(async (db) => {
    let added = 0;
    for (const path of paths) {
      const { info } = path;
      const hashPart = storePathHashPart(info.storePath);
      const narinfo = await recordNar(db, cache, path);
      const isNew = await insertPath(db, {
        cache_id: cache.id,
        hash_part: hashPart,
        name: storePathName(info.storePath),
        nar_hash: bareHash(info.narHash),
        nar_size: info.narSize,
        deriver: info.deriver ?? null,
        ca: info.ca === undefined ? null : formatContentAddress(info.ca),
        narinfo,
        created_at: Date.now(),
        pushed_at: Date.now(),
        last_used_at: Date.now(),
      });
      await claimNars(db, cache.id, [bareHash(info.narHash)]);
      if (!isNew) continue;
      added++;
      const others = info.references.filter((reference) => reference !== info.storePath);
      await insertReferences(
        db,
        others.map((reference) => ({
          cache_id: cache.id,
          hash_part: hashPart,
          reference: storePathHashPart(reference),
        })),
      );
    }
    return added;
  });
}
