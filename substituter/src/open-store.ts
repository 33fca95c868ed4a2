import { existsSync } from 'node:fs';
import { LarderError } from '@larder/signing/errors';
import type { NarWork } from '@larder/signing/nar-work';
import { StoreDir } from '@larder/signing/store-path';
import { BinaryCache } from './binary-cache/binary-cache.js';
import type { CacheFiles } from './binary-cache/cache-files.js';
import { FileCacheFiles } from './binary-cache/file-cache-files.js';
import { HttpCacheFiles } from './binary-cache/http-cache-files.js';
import type { NarInfoCache } from './binary-cache/narinfo-cache.js';
import { readSshOptions } from './config.js';
import { SocketTransport } from './daemon/daemon-channel.js';
import { DaemonPool } from './daemon/daemon-pool.js';
import { DaemonStore } from './daemon/daemon-store.js';
import type { SshTarget } from './daemon/ssh-target.js';
import { SshTransport } from './daemon/ssh-transport.js';
import type { HttpClient } from './http/http-client.js';
import { findStoreLayout, isWritable } from './local-store/layout.js';
import { LocalStore } from './local-store/local-store.js';
import { type LocalStoreOptions, localStoreOptions } from './local-store/local-store-options.js';
import type { Settings } from './settings/settings.js';
import { countParameter, flagParameter, formatStoreUri, parseStoreUri, type StoreUri } from './store-uri.js';

/** What opening a store takes; see `createClient` for all of it at once. */
export interface OpenContext {
  readonly settings: Settings;
  readonly http: HttpClient;
  readonly work: NarWork;
  /** Called with the path of a lock that another process holds. */
  readonly onWait?: LocalStoreOptions['onWait'];
  /** Keeps what caches on the network say of their paths between runs; with `files`, also what those in directories say. */
  readonly narInfoCache?: { readonly open: () => Promise<NarInfoCache | undefined>; readonly files: boolean };
  /** Called with what Nix's daemon logs, a line at a time. */
  readonly onLog?: (line: string) => void;
}

export type LocalStoreUri = Extract<StoreUri, { readonly kind: 'local' | 'auto' | 'daemon' }>;
export type SshStoreUri = Extract<StoreUri, { readonly kind: 'ssh-ng' }>;
export type CacheUri = Exclude<StoreUri, LocalStoreUri | SshStoreUri>;

export function isCacheUri(uri: StoreUri): uri is CacheUri {
  return uri.kind === 'file' || uri.kind === 'http' || uri.kind === 's3';
}

/** Opens a store or cache to read from. @throws `store-uri-invalid` and what opening it throws */
export async function openSource(
  text: string,
  context: OpenContext,
): Promise<BinaryCache | LocalStore | DaemonStore> {
  const uri = parseStoreUri(text);
  return isCacheUri(uri) ? openCache(uri, context) : openMachineStore(uri, context);
}

/** Opens a binary cache. */
export async function openCache(uri: CacheUri, context: OpenContext): Promise<BinaryCache> {
  return new BinaryCache(await openCacheFiles(uri, context), {
    storeDir: cacheStoreDir(uri, context.settings),
    priority: countParameter(uri, 'priority'),
    wantMassQuery: flagParameter(uri, 'want-mass-query'),
    trusted: flagParameter(uri, 'trusted'),
    remembered: remembers(uri, context) ? await context.narInfoCache?.open() : undefined,
  });
}

/** Directories answer sooner than a database would: as Nix, what they say is kept only if that is asked for. */
export function remembers(uri: CacheUri, { narInfoCache }: OpenContext): boolean {
  return uri.kind === 'http' || uri.kind === 's3' || (uri.kind === 'file' && narInfoCache?.files === true);
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
 * Opens a machine's store: directly where it may be written, else through Nix's daemon. `auto` chooses as Nix
 * does; `local` and `daemon` insist; `ssh-ng` is another machine's.
 */
export async function openMachineStore(
  uri: LocalStoreUri | SshStoreUri,
  context: OpenContext,
): Promise<LocalStore | DaemonStore> {
  if (uri.kind === 'ssh-ng') return openSshStore(uri, context);
  return needsDaemon(uri, context.settings) ? openDaemonStore(uri, context) : openLocalStore(uri, context);
}

/** Opens a store on this machine for work that goes to its files. @throws `store-needs-daemon` where only Nix's daemon may write */
export async function openLocalStore(uri: LocalStoreUri, context: OpenContext): Promise<LocalStore> {
  const layout = findStoreLayout(context.settings, uri.parameters);
  if (needsDaemon(uri, context.settings)) {
    throw new LarderError(
      'store-needs-daemon',
      `this works on the files of ${layout.storeDir.path} itself, which only their owner may: run it as root, or name a ` +
        'store of your own (local?root=DIR)',
    );
  }
  const options = { ...localStoreOptions(context.settings), onWait: context.onWait };
  return LocalStore.open(layout, options, formatStoreUri({ ...uri, kind: 'local' }));
}

function needsDaemon(uri: LocalStoreUri, settings: Settings): boolean {
  if (uri.kind === 'daemon') return true;
  const { stateDir } = findStoreLayout(settings, uri.parameters);
  return uri.kind === 'auto' && existsSync(stateDir) && !isWritable(stateDir);
}

/** Requests to the daemon under way at a time; each has a process of the daemon's behind it. */
const daemonConnections = 8;

function openDaemonStore(uri: LocalStoreUri, { settings, onLog }: OpenContext): DaemonStore {
  const socket = uri.kind === 'daemon' ? uri.socket : undefined;
  const pool = new DaemonPool(new SocketTransport(socket ?? settings.directories.daemonSocket.value), {
    connections: daemonConnections,
    onLog,
  });
  return new DaemonStore(pool, { storeDir: new StoreDir(settings.directories.storeDir.value) });
}

/** Opens another machine's store. The machine is first reached by the first request. */
async function openSshStore(uri: SshStoreUri, { settings, onLog }: OpenContext): Promise<DaemonStore> {
  const { parameters, host, user, port } = uri;
  const target: SshTarget = {
    host,
    user,
    port,
    keyFile: parameters.get('ssh-key'),
    hostKey: hostKeyParameter(uri),
    compress: flagParameter(uri, 'compress'),
    options: readSshOptions(),
  };
  const transport = new SshTransport(target, {
    program: parameters.get('remote-program'),
    remoteStore: parameters.get('remote-store'),
    onLog,
  });
  // Each connection is a login: as in Nix, one unless told otherwise.
  const connections = Math.max(1, countParameter(uri, 'max-connections') ?? 1);
  return new DaemonStore(new DaemonPool(transport, { connections, onLog }), {
    storeDir: new StoreDir(parameters.get('store') ?? settings.directories.storeDir.value),
    uri: formatStoreUri(uri),
  });
}

/** The text of the host's public key: its type and the key itself, and nothing that ssh would read as more. */
function hostKeyParameter(uri: SshStoreUri): string | undefined {
  const encoded = uri.parameters.get('base64-ssh-public-host-key');
  if (encoded === undefined) return undefined;
  const key = /^[a-z0-9@.-]+ [A-Za-z0-9+/=]+/.exec(Buffer.from(encoded, 'base64').toString('latin1'))?.[0];
  if (key !== undefined) return key;
  throw new LarderError(
    'store-uri-invalid',
    `base64-ssh-public-host-key of ${formatStoreUri(uri)} is no key: give the base64 of a line such as 'ssh-ed25519 AAAA…'`,
  );
}
