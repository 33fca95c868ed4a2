import { availableParallelism } from 'node:os';
import { NarWork } from '@larder/signing/nar-work';
import { HttpClient, type HttpClientOptions, httpClientOptions } from './http/http-client.js';
import type { OpenContext } from './open-store.js';
import type { Settings } from './settings/settings.js';

export interface ClientOptions {
  /** In place of what the settings say. */
  readonly http?: Partial<HttpClientOptions>;
  readonly onWait?: OpenContext['onWait'];
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
  return {
    context: { settings, http, work, onWait: options.onWait },
    async [Symbol.asyncDispose]() {
      await Promise.all([http.close(), work.close()]);
    },
  };
}
