import { accessSync, constants, existsSync } from 'node:fs';
import { LarderError } from '@larder/signing/errors';
import { StoreDir } from '@larder/signing/store-path';
import { BinaryCache } from './binary-cache/binary-cache.js';
import type { CacheFiles } from './binary-cache/cache-files.js';
import { FileCacheFiles } from './binary-cache/file-cache-files.js';
import { HttpCacheFiles } from './binary-cache/http-cache-files.js';
import type { HttpClient } from './http/http-client.js';
import { findStoreLayout } from './local-store/layout.js';
import { LocalStore, type LocalStoreOptions, localStoreOptions } from './local-store/local-store.js';
import type { Settings } from './settings/settings.js';
import type { PathSource } from './store.js';
import { countParameter, flagParameter, formatStoreUri, parseStoreUri, type StoreUri } from './store-uri.js';

/** What opening a store takes; the caller owns the HTTP client. */
export interface OpenContext {
  readonly settings: Settings;
  readonly http: HttpClient;
  /** Called with the path of a lock that another process holds. */
  readonly onWait?: LocalStoreOptions['onWait'];
}

export type LocalStoreUri = Extract<StoreUri, { readonly kind: 'local' | 'auto' | 'daemon' }>;
export type CacheUri = Exclude<StoreUri, LocalStoreUri>;

export function isCacheUri(uri: StoreUri): uri is CacheUri {
  return uri.kind === 'file' || uri.kind === 'http' || uri.kind === 's3';
}

/** Opens a store or cache to read from. @throws `store-uri-invalid` and what opening it throws */
export async function openSource(text: string, context: OpenContext): Promise<PathSource> {
  const uri = parseStoreUri(text);
  return isCacheUri(uri) ? openCache(uri, context) : openLocalStore(uri, context);
}

/** Opens a binary cache. */
export async function openCache(uri: CacheUri, context: OpenContext): Promise<BinaryCache> {
  return new BinaryCache(await openCacheFiles(uri, context), {
    storeDir: cacheStoreDir(uri, context.settings),
    priority: countParameter(uri, 'priority'),
    wantMassQuery: flagParameter(uri, 'want-mass-query'),
    trusted: flagParameter(uri, 'trusted'),
  });
}

/** The store directory whose paths a cache is asked for. */
export function cacheStoreDir(uri: CacheUri, settings: Settings): StoreDir {
  return new StoreDir(uri.parameters.get('store') ?? settings.directories.storeDir.value);
}

export async function openCacheFiles(uri: CacheUri, { settings, http }: OpenContext): Promise<CacheFiles> {
  switch (uri.kind) {
    case 'file':
      return new FileCacheFiles(uri.directory);
    case 'http':
      return new HttpCacheFiles(formatStoreUri(uri), uri.url, http);
    case 's3': {
      const { S3CacheFiles } = await import('./binary-cache/s3-cache-files.js');
      return new S3CacheFiles(uri, Math.max(1, settings.get('download-attempts')));
    }
  }
}

/**
 * Opens a store on this machine. `auto` is the machine's own store, opened directly by who may write it.
 * @throws `daemon-unsupported` where only Nix's daemon could do it
 */
export async function openLocalStore(uri: LocalStoreUri, context: OpenContext): Promise<LocalStore> {
  const layout = findStoreLayout(context.settings, uri.parameters);
  const needsDaemon =
    uri.kind === 'daemon' ||
    (uri.kind === 'auto' && existsSync(layout.stateDir) && !isWritable(layout.stateDir));
  if (needsDaemon) {
    throw new LarderError(
      'daemon-unsupported',
      `the store of this machine (${layout.stateDir}) can be written only through Nix's daemon, which Larder does ` +
        'not speak to: run as root, or name another store (local?root=DIR)',
    );
  }
  const options = { ...localStoreOptions(context.settings), onWait: context.onWait };
  return LocalStore.open(layout, options, formatStoreUri({ ...uri, kind: 'local' }));
}

function isWritable(directory: string): boolean {
  try {
    accessSync(directory, constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
