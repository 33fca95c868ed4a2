import { readFile } from 'node:fs/promises';
import { type Compression, isCompression, type WritableCompression } from '@larder/signing/compression';
import { LarderError } from '@larder/signing/errors';
import { SecretKey } from '@larder/signing/key';
import type { Destination } from './copy/destination.js';
import { LocalDestination } from './copy/local-destination.js';
import { DaemonDestination } from './daemon/daemon-destination.js';
import { DaemonStore } from './daemon/daemon-store.js';
import {
  type CacheUri,
  cacheStoreDir,
  isCacheUri,
  type OpenContext,
  openCacheFiles,
  openMachineStore,
  remembers,
} from './open-store.js';
import { CachePublisher } from './publish/cache-publisher.js';
import { describeLarderCache, LarderPublisher } from './publish/larder-publisher.js';
import { countParameter, flagParameter, parseStoreUri } from './store-uri.js';

/** Narinfos that are asked for at a time, when a cache has no better way to say what it lacks. */
const queriesAtOnce = 64;

export interface DestinationOptions {
  /** False lets unsigned paths into a store; a daemon does so only for users it trusts. */
  readonly requireSignatures?: boolean;
  /** Has a store behind a daemon fetch from its own caches what they have, rather than have it sent. */
  readonly substitute?: boolean;
  /** Keys that sign what is put into a cache, beside those its URI names. */
  readonly secretKeys?: readonly SecretKey[];
}

/**
 * Opens a store or cache to copy to. A web server is asked whether it is a Larder server: one that is gets its own
 * API, any other what stock Nix would send.
 * @throws `store-uri-invalid` and what opening it throws
 */
export async function openDestination(
  text: string,
  context: OpenContext,
  { requireSignatures = true, substitute = false, secretKeys = [] }: DestinationOptions = {},
): Promise<Destination> {
  const uri = parseStoreUri(text);
  if (!isCacheUri(uri)) {
    const trusted = flagParameter(uri, 'require-sigs') === false || flagParameter(uri, 'trusted') === true;
    const store = await openMachineStore(uri, context);
    const checksTrust = requireSignatures && !trusted;
    return store instanceof DaemonStore
      ? new DaemonDestination(store, { checksTrust, substitute })
      : new LocalDestination(store, { work: context.work, checksTrust });
  }
  const keys = [...(await readSecretKeys(uri)), ...secretKeys];
  const larder = uri.kind === 'http' ? await openLarderPublisher(uri, context, keys) : undefined;
  return larder ?? openCachePublisher(uri, context, keys);
}

/** The destination behind a URL if that is a cache of a Larder server. */
export async function openLarderPublisher(
  uri: Extract<CacheUri, { readonly kind: 'http' }>,
  context: OpenContext,
  secretKeys: readonly SecretKey[] = [],
): Promise<LarderPublisher | undefined> {
  const cache = await describeLarderCache(uri.url, context.http);
  if (cache === undefined) return undefined;
  return new LarderPublisher(cache, {
    http: context.http,
    work: context.work,
    storeDir: cacheStoreDir(uri, context.settings),
    // No compressor is as fast as a connection that does not leave the machine.
    compression: compressionParameter(uri) ?? (isLoopback(uri.url) ? 'none' : 'zstd'),
    level: countParameter(uri, 'compression-level'),
    secretKeys,
  });
}

async function openCachePublisher(
  uri: CacheUri,
  context: OpenContext,
  secretKeys: readonly SecretKey[],
): Promise<CachePublisher> {
  return new CachePublisher(await openCacheFiles(uri, context), {
    work: context.work,
    storeDir: cacheStoreDir(uri, context.settings),
    compression: compressionParameter(uri) ?? 'zstd',
    level: countParameter(uri, 'compression-level'),
    secretKeys,
    writeListing: flagParameter(uri, 'write-nar-listing') ?? false,
    queries: queriesAtOnce,
    remembered: remembers(uri, context) ? await context.narInfoCache?.open() : undefined,
  });
}

const unwritable: readonly Compression[] = ['bzip2', 'lzip', 'lz4'];

function compressionParameter(uri: CacheUri): WritableCompression | undefined {
  const label = uri.parameters.get('compression');
  if (label === undefined) return undefined;
  if (isCompression(label) && !unwritable.includes(label)) return label as WritableCompression;
  throw new LarderError(
    'store-uri-invalid',
    `compression=${label} cannot be written: choose zstd, xz, br, gzip, lzma or none`,
  );
}

async function readSecretKeys(uri: CacheUri): Promise<SecretKey[]> {
  const files = [uri.parameters.get('secret-key'), ...(uri.parameters.get('secret-keys') ?? '').split(',')];
  const named = files.filter((file): file is string => file !== undefined && file !== '');
  return Promise.all(named.map(async (file) => SecretKey.parse(await readFile(file, 'utf8'))));
}

function isLoopback({ hostname }: URL): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127\./.test(hostname);
}
