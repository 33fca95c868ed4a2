import { Hasher } from '@larder/signing/hash';
import type { Cache } from '../caches/cache.js';
import type { Database } from '../database/database.js';
import { type NarRow, queryNarAmong } from '../database/tables/nars.js';
import type { Lease, Leases } from '../leases/leases.js';
import { bareHash } from '../publish/narinfo-text.js';
import { narKey, objectKeys } from '../storage/object-key.js';
import type { ObjectStorage } from '../storage/storage.js';
import type { NarReader, NarReading } from './nar-reader.js';
import { narObject } from './nar-store.js';
import { checkQuota } from './quota.js';
import { recordNar } from './record-nar.js';

export interface CopyNarOptions {
  readonly database: Database;
  readonly storage: ObjectStorage;
  readonly reader: NarReader;
  readonly leases: Leases;
  /** How long it is kept while no path has it, in milliseconds. */
  readonly keepUnused: number;
}

interface FoundNar {
  readonly row: NarRow;
  readonly key: string;
}

/**
 * Gives a cache a NAR that another cache of this server has, in the form it is kept there: it is read and hashed once more, and
 * not compressed anew. The crash invariants are `NarStore`'s.
 * @param others the caches to look in
 * @returns whether it was there, and is what it should be
 */
export async function copyNar(
  options: CopyNarOptions,
  cache: Cache,
  { narHash, others }: { readonly narHash: string; readonly others: readonly Cache[] },
): Promise<boolean> {
  const found = await findNar(options, cache, { narHash, others });
  if (found === undefined) return false;
  const reading = await survey(options, found);
  if (reading === undefined || bareHash(reading.narHash) !== narHash) return false;
  await using lease = await options.leases.take(cache.id, [narObject(narHash)]);
  const isCopied = await store(options, cache, { found, reading, lease });
  if (!isCopied) await lease.release();
  return isCopied;
}

async function findNar(
  { database }: CopyNarOptions,
  cache: Cache,
  { narHash, others }: { readonly narHash: string; readonly others: readonly Cache[] },
): Promise<FoundNar | undefined> {
  const ids = others.map(({ id }) => id).filter((id) => id !== cache.id);
  const row = await queryNarAmong(database.read, ids, narHash);
  const owner = others.find(({ id }) => id === row?.cache_id);
  return row === undefined || owner === undefined ? undefined : { row, key: narKey(owner.name, row) };
}

/** What the NAR turns out to be; `undefined` when it is gone or damaged. */
async function survey(
  { storage, reader }: CopyNarOptions,
  { row, key }: FoundNar,
): Promise<NarReading | undefined> {
  await using stored = await storage.get(key);
  if (stored === undefined) return undefined;
  const form = { compression: 'zstd', maxSize: row.nar_size } as const;
  return await reader.survey(stored.body, form).catch(() => undefined);
}

async function store(
  { database, storage, keepUnused }: CopyNarOptions,
  cache: Cache,
  {
    found,
    reading,
    lease,
  }: { readonly found: FoundNar; readonly reading: NarReading; readonly lease: Lease },
): Promise<boolean> {
  await using stored = await storage.get(found.key);
  if (stored === undefined) return false;
  const key = objectKeys.nar(cache.name, found.row.nar_hash);
  const hasher = new Hasher('sha256');
  const bytes = hashed(stored.body, hasher);
  await using staged = await storage.stage(bytes, { contentType: 'application/x-nix-nar', key });
  if (bareHash(hasher.digest()) !== found.row.file_hash) return false;
  await checkQuota(database, cache, staged.size);
  await staged.publish(key);
  const now = Date.now();
  const expiresAt = now + keepUnused;
  const row: NarRow = { ...found.row, cache_id: cache.id, created_at: now, expires_at: expiresAt };
  await recordNar(database, { row, reading, lease, expiresAt });
  return true;
}

async function* hashed(source: AsyncIterable<Uint8Array>, hasher: Hasher): AsyncIterable<Uint8Array> {
  for await (const chunk of source) {
    hasher.update(chunk);
    yield chunk;
  }
}
