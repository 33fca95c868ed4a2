import type { PublicKey, SecretKey } from '@larder/signing/key';
import type { StoreDir } from '@larder/signing/store-path';
import { ServerError } from '../errors.js';
import type { CacheOptions } from './cache-options.js';

/** One of the caches that this server hosts, ready to be served from and published to. Immutable. */
export interface Cache {
  readonly id: number;
  readonly name: string;
  /** Whether everyone may read it. */
  readonly public: boolean;
  /** Lower is asked first by clients. */
  readonly priority: number;
  readonly storeDir: StoreDir;
  readonly options: CacheOptions;
  /** What new paths are signed with. */
  readonly signingKeys: readonly SecretKey[];
  /** What clients should trust: the signing keys' public halves, and those of keys retired but still in use. */
  readonly publicKeys: readonly PublicKey[];
}

/** First parts of paths that are not caches. */
const RESERVED: ReadonlySet<string> = new Set([
  'admin',
  'api',
  'assets',
  'docs',
  'healthz',
  'login',
  'metrics',
  'nix-cache-info',
  'readyz',
  'static',
]);

/** Whether a cache can have this name: it is a part of URLs, of keys in the storage and of token patterns. */
export function isCacheName(name: string): boolean {
  return /^[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?$/.test(name) && !RESERVED.has(name);
}

/** @throws `cache-name-malformed` */
export function checkCacheName(name: string): string {
  if (isCacheName(name)) return name;
  throw new ServerError(
    'cache-name-malformed',
    `'${name}' cannot be the name of a cache: use up to 63 small letters, digits, '-' and '_', starting and ending ` +
      'with a letter or digit, and none of the words the server uses itself',
    { fields: { name } },
  );
}
