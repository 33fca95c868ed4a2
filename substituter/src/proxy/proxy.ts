import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import type { LarderError } from '@larder/signing/errors';
import type { SecretKey } from '@larder/signing/key';
import type { NarWork } from '@larder/signing/nar-work';
import type { Trust } from '@larder/signing/trust';
import { SourceSet } from '../source-set.js';
import type { PathSource } from '../store.js';
import { NarService } from './nar-service.js';
import { NarShelf } from './nar-shelf.js';
import { PathIndex } from './path-index.js';
import { createProxyApp } from './proxy-app.js';
import { type BaseStore, ProxyDeltas } from './proxy-deltas.js';

export interface ProxyOptions {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** Caches and stores, closed with the proxy. */
  readonly sources: readonly PathSource[];
  readonly trusted: Trust;
  readonly requireSignatures: boolean;
  readonly work: NarWork;
  /** Where archives are kept. */
  readonly directory: string;
  /** Bytes kept at most. */
  readonly maxSize: number;
  readonly priority: number;
  readonly keys: readonly SecretKey[];
  /** A store with older versions, which deltas are applied to; without one all comes whole. */
  readonly base?: BaseStore;
  /** For how long it is remembered that a cache has a path, or none has it, in milliseconds. */
  readonly positiveTtl: number;
  readonly negativeTtl: number;
  /** Hears what a person who runs the proxy should know. */
  readonly onNote: (text: string) => void;
}

/** A proxy that takes requests. */
export interface RunningProxy {
  /** `http://host:port`. */
  readonly url: string;
  close(): Promise<void>;
}

/** Narinfos looked up ahead at a time. */
const LOOK_AHEAD = 24;

/** Starts a proxy. @throws `no-source`, and what listening and opening the directory throw */
export async function startProxy(options: ProxyOptions): Promise<RunningProxy> {
  const { onNote, sources, work } = options;
  const set = new SourceSet(sources, {
    onDisabled: (source, error) =>
      onNote(`${source.uri} is left out for a minute: ${(error as Error).message}`),
  });
  const abort = new AbortController();
  const index = new PathIndex({
    ...options,
    sources: set,
    concurrency: LOOK_AHEAD,
    onRefused: (error: LarderError) => onNote(error.message),
  });
  const shelf = await NarShelf.open(options.directory, options.maxSize);
  const { base } = options;
  const { signal } = abort;
  const deltas = base === undefined ? undefined : new ProxyDeltas({ base, shelf, work, onNote, signal });
  const nars = new NarService({ index, shelf, work, deltas, signal });
  const app = createProxyApp({
    ...options,
    storeDir: set.storeDir,
    index,
    nars,
    deltas,
    status: () => ({ caches: set.uris, kept: shelf.contents, bytes: nars.counts }),
    onError: (error, path) => onNote(`${path}: ${(error as Error).message}`),
  });
  const listener = getRequestListener(app.fetch);
  const server = createServer((incoming, outgoing) => void listener(incoming, outgoing));
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, options.host, resolve);
  });
  const { port } = server.address() as AddressInfo;
  const { host } = options;
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${port}`,
    async close() {
      index.close();
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeIdleConnections();
      abort.abort();
      server.closeAllConnections();
      await closed;
      await set.close();
    },
  };
}
