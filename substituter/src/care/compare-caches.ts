import type { Hash } from '@larder/signing/hash';
import type { PathInfo } from '@larder/signing/path-info';
import { parseSignature } from '@larder/signing/signature';
import type { StorePath } from '@larder/signing/store-path';
import { mapConcurrently } from '../concurrency.js';
import type { PathSource } from '../store.js';

export interface CompareOptions {
  /** Caches whose word is asked for. Each should have built the path itself: a copy of another agrees with it. */
  readonly caches: readonly PathSource[];
  readonly concurrency: number;
  readonly signal?: AbortSignal;
}

/** What one cache says of a path. */
export interface CacheAnswer {
  readonly cache: string;
  readonly narHash: Hash;
  readonly agrees: boolean;
  /** The names of the keys that signed it there, unverified. */
  readonly signers: readonly string[];
}

export interface Comparison {
  readonly path: StorePath;
  /** Of the path in the store. */
  readonly narHash: Hash;
  /**
   * `reproducible`: every cache that has the path has these contents; `differing`: one has others; `unknown`: none
   * has it.
   */
  readonly verdict: 'reproducible' | 'differing' | 'unknown';
  readonly answers: readonly CacheAnswer[];
}

/**
 * Asks caches for the NarHash they have of each path, and compares it with the store's own. Two caches that built a
 * path each for itself and agree show that its build is reproducible, and that neither was tampered with.
 * @throws HttpError for a cache that cannot be asked: silence is no agreement
 */
export async function compareCaches(
  paths: readonly PathInfo[],
  { caches, concurrency, signal }: CompareOptions,
): Promise<Comparison[]> {
  return mapConcurrently(paths, concurrency, async ({ storePath: path, narHash }) => {
    const answers = await Promise.all(caches.map((cache) => askCache(cache, path, { narHash, signal })));
    const given = answers.filter((answer) => answer !== undefined);
    const differing = given.some(({ agrees }) => !agrees);
    const verdict = differing ? 'differing' : given.length > 0 ? 'reproducible' : 'unknown';
    return { path, narHash, verdict, answers: given };
  });
}

async function askCache(
  cache: PathSource,
  path: StorePath,
  { narHash, signal }: { readonly narHash: Hash; readonly signal?: AbortSignal },
): Promise<CacheAnswer | undefined> {
  const info = await cache.queryPathInfo(path, { signal });
  if (info === undefined) return undefined;
  const signers = [...new Set(info.signatures.map((text) => parseSignature(text).keyName))];
  return { cache: cache.uri, narHash: info.narHash, agrees: info.narHash.equals(narHash), signers };
}
