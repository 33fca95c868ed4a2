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
}

/** Lists what of a cache stands for its paths. */
export async function takeInventory(storage: ObjectStorage, cache: Cache): Promise<BucketInventory> {
  const inventory: BucketInventory = { nars: new Map(), narInfos: new Map() };
  for await (const { key, size, modified } of storage.list(`${cache.name}/`)) {
    const path = key.slice(cache.name.length + 1);
    const entry = { size, modified: modified.getTime() };
    if (path.startsWith('nar/')) inventory.nars.set(key, entry);
    else if (/^[^/]+\.narinfo$/.test(path)) inventory.narInfos.set(key, entry);
  }
  return inventory;
}
