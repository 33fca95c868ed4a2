import type { SecretKey } from '@larder/signing/key';
import type { StoreDir } from '@larder/signing/store-path';
import type { Cache } from '../caches/cache.js';
import type { CacheDirectory } from '../caches/cache-directory.js';
import type { CacheOptions } from '../caches/cache-options.js';
import { ServerError } from '../errors.js';

/** A cache as it is elsewhere, and is to be here. */
export interface CacheElsewhere {
  readonly name: string;
  readonly public: boolean;
  readonly priority?: number;
  readonly storeDir: StoreDir;
  /** What it signs with. */
  readonly keys: readonly SecretKey[];
  readonly options: CacheOptions;
}

/**
 * The cache that paths are to go to: made, or the one of that name. What the latter was set to since stays; upstreams it does
 * not have yet are added.
 * @param merge whether a cache that is not of an earlier run may take the paths too, and gets the keys beside its own
 * @throws `cache-exists`, `cache-name-malformed`, `key-exists`, `key-unsealable`
 */
export async function takeOverCache(
  caches: CacheDirectory,
  wanted: CacheElsewhere,
  { merge = false }: { readonly merge?: boolean } = {},
): Promise<Cache> {
  const known = await caches.find(wanted.name);
  if (known === undefined) {
    // Whoever runs this with another seal key than the server's would make a cache that it cannot open: the others tell.
    await caches.list();
    return caches.create(wanted);
  }
  checkSame(known, wanted, merge);
  let cache = known;
  for (const key of lackingKeys(known, wanted)) cache = await caches.importKey(cache, key);
  const { upstreams = [] } = wanted.options;
  const had = cache.options.upstreams ?? [];
  const added = upstreams.filter(({ url }) => !had.some((each) => each.url === url));
  if (added.length === 0) return cache;
  return caches.configure(cache, { options: { upstreams: [...had, ...added] } });
}

/** Whether the paths may go to a cache that is there. @throws as `takeOverCache` */
export function checkSame(known: Cache, wanted: CacheElsewhere, merge: boolean): void {
  const { name } = wanted;
  if (known.storeDir.path !== wanted.storeDir.path)
    throw new ServerError(
      'cache-exists',
      `the cache '${name}' here is of ${known.storeDir.path}, the other of ${wanted.storeDir.path}; give it another name`,
    );
  if (wanted.keys.length > 0 && lackingKeys(known, wanted).length === 0) return;
  if (!merge)
    throw new ServerError(
      'cache-exists',
      `there is a cache '${name}' already, with keys of its own; give the other a new name (NAME=NEW), or --merge it into ` +
        'this one, which then signs with its keys, too',
      { fields: { name } },
    );
  if (known.public && !wanted.public)
    throw new ServerError(
      'cache-exists',
      `the cache '${name}' is public here and the other is private: its paths would be shown to everyone; give it another ` +
        `name (NAME=NEW), or make this one private first (larder cache configure ${name} --private)`,
      { fields: { name } },
    );
}

function lackingKeys(known: Cache, { keys }: CacheElsewhere): SecretKey[] {
  const listed = new Set(known.publicKeys.map((key) => key.format()));
  return keys.filter((key) => !listed.has(key.publicKey().format()));
}
