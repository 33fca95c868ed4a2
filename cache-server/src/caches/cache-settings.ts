import { PublicKey } from '@larder/signing/key';
import { StoreDir } from '@larder/signing/store-path';
import { z } from 'zod';
import type { Cache } from './cache.js';
import { type CacheOptions, parseCacheOptions } from './cache-options.js';

/** What of a cache is kept in the bucket beside its `nix-cache-info`, so that the database can be rebuilt from it. */
export interface CacheSettings {
  readonly public: boolean;
  readonly priority: number;
  readonly storeDir: StoreDir;
  readonly publicKeys: readonly PublicKey[];
  readonly options: CacheOptions;
}

const schema = z.object({
  version: z.literal(1),
  public: z.boolean(),
  priority: z.int(),
  storeDir: z.string(),
  publicKeys: z.array(z.string()),
  options: z.unknown().optional(),
});

/** Writes `larder-cache.json`. It holds nothing secret: who can read the bucket can read it. */
export function formatCacheSettings(cache: Cache): string {
  const settings: z.input<typeof schema> = {
    version: 1,
    public: cache.public,
    priority: cache.priority,
    storeDir: cache.storeDir.path,
    publicKeys: cache.publicKeys.map((key) => key.format()),
    options: cache.options,
  };
  return `${JSON.stringify(settings, undefined, 2)}\n`;
}

/** Reads `larder-cache.json`; `undefined` for anything but what `formatCacheSettings` writes. */
export function parseCacheSettings(text: string): CacheSettings | undefined {
  try {
    const settings = schema.parse(JSON.parse(text));
    return {
      public: settings.public,
      priority: settings.priority,
      storeDir: new StoreDir(settings.storeDir),
      publicKeys: settings.publicKeys.map((key) => PublicKey.parse(key)),
      options: parseCacheOptions(settings.options),
    };
  } catch {
    return undefined;
  }
}
