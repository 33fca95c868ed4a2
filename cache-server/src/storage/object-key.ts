import { deltaPath } from '@larder/signing/download';
import { ServerError } from '../errors.js';

/** Letters, digits and the punctuation that store path names, realisation ids and URLs of NARs are made of. */
const SEGMENT = /^[A-Za-z0-9_+=?!:-][A-Za-z0-9._+=?!:-]*$/;
const MAX_SEGMENT_LENGTH = 255;

/** Prefix of what is being written; no key may start with a dot, so it can never be one. */
export const STAGING_PREFIX = '.staging';

/**
 * Refuses keys that could leave the storage's root or hide in it. Routes check names more narrowly; this is the last line.
 * @throws `storage-key-malformed`
 */
export function checkKey(key: string): string {
  const sound = key.split('/').every((part) => SEGMENT.test(part) && part.length <= MAX_SEGMENT_LENGTH);
  if (!sound) throw new ServerError('storage-key-malformed', `'${key}' cannot be the key of an object`);
  return key;
}

/** The objects of one cache, in Nix's own layout: what a stock client would find in the bucket. */
export const objectKeys = {
  cacheInfo: (cache: string) => `${cache}/nix-cache-info`,
  /** Settings of the cache that nix-cache-info has no room for, so that the database can be rebuilt. */
  settings: (cache: string) => `${cache}/larder-cache.json`,
  /** A pin's history, likewise. */
  pin: (cache: string, pin: string) => `${pinPrefix(cache)}${pin}.json`,
  narInfo: (cache: string, hashPart: string) => `${cache}/${hashPart}.narinfo`,
  listing: (cache: string, hashPart: string) => `${cache}/${hashPart}.ls`,
  nar: (cache: string, narHash: string) => `${cache}/${narUrlPath(narHash)}`,
  log: (cache: string, derivation: string) => `${cache}/log/${derivation}`,
  realisation: (cache: string, id: string) => `${cache}/realisations/${id}.doi`,
  buildTrace: (cache: string, derivation: string, output: string) =>
    `${cache}/build-trace-v2/${derivation}/${output}.doi`,
  delta: (cache: string, base: string, narHash: string) => `${cache}/${deltaPath(base, narHash)}`,
  debugInfo: (cache: string, buildId: string) => `${cache}/debuginfo/${buildId}`,
} as const;

/** What the keys of a cache's pins start with. */
export function pinPrefix(cache: string): string {
  return `${cache}/larder-pins/`;
}

/** What of a NAR's row says where it is. */
export interface KeptNar {
  readonly nar_hash: string;
  readonly file: string | null;
}

/** Where a NAR is kept, relative to its cache: by its NarHash, or where another tool put it whose cache was taken over. */
export function narPath({ nar_hash, file }: KeptNar): string {
  return file ?? narUrlPath(nar_hash);
}

/** The key of a NAR that is kept. */
export function narKey(cache: string, nar: KeptNar): string {
  return `${cache}/${narPath(nar)}`;
}

/** Where a narinfo's URL points, relative to the cache; `narHash` is nix32 without a prefix. */
export function narUrlPath(narHash: string): string {
  return `nar/${narHash}.nar.zst`;
}
