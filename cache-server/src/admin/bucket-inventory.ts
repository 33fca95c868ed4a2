import type { Cache } from '../caches/cache.js';
import type { ObjectStorage } from '../storage/storage.js';

interface Entry {
  readonly size: number;
  /** Milliseconds since the epoch. */
  readonly modified: number;
}

/** Objects of a cache, by key. */
export interface BucketInventory {
  readonly nars: Map<string, Entry>;
  readonly narInfos: Map<string, Entry>;
  readonly listings: Map<string, Entry>;
  readonly deltas: Map<string, Entry>;
  /** Links to debug information, and realisations. */
  readonly sideFiles: Map<string, Entry>;
}

/** Lists what of a cache belongs to its paths and NARs. Logs, settings and pins stand for themselves. */
export async function takeInventory(storage: ObjectStorage, cache: Cache): Promise<BucketInventory> {
  const inventory: BucketInventory = {
    nars: new Map(),
    narInfos: new Map(),
    listings: new Map(),
    deltas: new Map(),
    sideFiles: new Map(),
  };
  for await (const { key, size, modified } of storage.list(`${cache.name}/`)) {
    const path = key.slice(cache.name.length + 1);
    const entry = { size, modified: modified.getTime() };
    if (path.startsWith('nar/')) inventory.nars.set(key, entry);
    else if (/^[^/]+\.narinfo$/.test(path)) inventory.narInfos.set(key, entry);
    else if (/^[^/]+\.ls$/.test(path)) inventory.listings.set(key, entry);
    else if (path.startsWith('delta/')) inventory.deltas.set(key, entry);
    else if (/^(debuginfo|realisations|build-trace-v2)\//.test(path)) inventory.sideFiles.set(key, entry);
  }
  return inventory;
}
