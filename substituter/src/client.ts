import { availableParallelism } from 'node:os';
import { NarWork } from '@larder/signing/nar-work';
import type { NarInfoCache } from './binary-cache/narinfo-cache.js';
import { HttpClient } from './http/http-client.js';
import { type HttpClientOptions, httpClientOptions } from './http/http-client-options.js';
import type { OpenContext } from './open-store.js';
import type { Settings } from './settings/settings.js';

export interface ClientOptions {
  /** In place of what the settings say. */
  readonly http?: Partial<HttpClientOptions>;
  readonly onWait?: OpenContext['onWait'];
  /** Keeps what caches say of their paths between runs, for as long as the settings have it, as Nix does. */
  readonly rememberNarInfos?: { readonly files: boolean };
}

/** Threads at most: more would only add memory, since the disk is slower than these by then. */
const mostThreads = 8;

/** A process's client: connections and worker threads, shared by all the stores it opens. */
export interface Client extends AsyncDisposable {
  readonly context: OpenContext;
}

/** Makes a client; connections and threads start when they are first needed. */
export function createClient(settings: Settings, options: ClientOptions = {}): Client {
  const http = new HttpClient({ ...httpClientOptions(settings), ...options.http });
  const work = new NarWork({ size: Math.min(availableParallelism(), mostThreads) });
  let kept: Promise<NarInfoCache | undefined> | undefined;
  const open = (): Promise<NarInfoCache | undefined> => {
    kept ??= openNarInfoCache(settings);
    return kept;
  };
  const { rememberNarInfos } = options;
  const narInfoCache = rememberNarInfos === undefined ? undefined : { ...rememberNarInfos, open };
  return {
    context: { settings, http, work, onWait: options.onWait, ...(narInfoCache && { narInfoCache }) },
    async [Symbol.asyncDispose]() {
      (await kept)?.close();
      await Promise.all([http.close(), work.close()]);
    },
  };
}

async function openNarInfoCache(settings: Settings): Promise<NarInfoCache | undefined> {
  const positiveTtl = settings.get('narinfo-cache-positive-ttl');
  const negativeTtl = settings.get('narinfo-cache-negative-ttl');
  const { NarInfoCache } = await import('./binary-cache/narinfo-cache.js');
  return NarInfoCache.open(settings.directories.narInfoCache.value, { positiveTtl, negativeTtl });
}
