import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { SecretKey } from '@larder/signing/key';
import { findStoreLayout } from '@larder/substituter/local-store/layout';
import { isCacheUri, openMachineStore, openSource } from '@larder/substituter/open-store';
import { startProxy } from '@larder/substituter/proxy/proxy';
import type { BaseStore } from '@larder/substituter/proxy/proxy-deltas';
import type { PathSource } from '@larder/substituter/store';
import { parseStoreUri } from '@larder/substituter/store-uri';
import type { Command } from 'commander';
import {
  addClientOptions,
  addMemoryOptions,
  addTrustOptions,
  type ClientOptions,
  ClientSession,
  note,
} from './client-session.js';
import { collect, createVerb, usageError } from './command.js';
import { formatBytes, parseBytes } from './units.js';

interface ProxyVerbOptions extends ClientOptions {
  readonly listen: string;
  readonly from?: readonly string[];
  readonly directory?: string;
  readonly size: string;
  readonly priority: string;
  readonly keyFile?: readonly string[];
  readonly store: string;
  readonly deltas: boolean;
}

export function createCommand(): Command {
  const verb = createVerb('proxy', {
    summary:
      'Serve what many caches have as one, to stock Nix of any version: trusted, looked up ahead, kept on disk.',
    examples: [
      ['larder proxy', "the substituters of nix.conf as one cache, at 'http://127.0.0.1:8730'"],
      [
        'larder proxy --listen 0.0.0.0:8730 --from https://cache.example.org/main --from https://cache.nixos.org',
        'for the neighbours on the network, too',
      ],
    ],
  })
    .option('--listen <host:port>', 'where to take requests; port 0 takes a free one', '127.0.0.1:8730')
    .option('--from <store>', 'a cache or store behind it; the substituters of nix.conf without it', collect)
    .option('--directory <dir>', 'where archives are kept; in the cache directory of the user without it')
    .option('--size <bytes>', 'how much of them is kept, as in 500MB or 20GiB', '10GB')
    .option('--priority <number>', 'of the proxy among the substituters of its clients', '10')
    .option('--store <store>', 'the store with the older versions that deltas are applied to', 'auto')
    .option('--no-deltas', 'fetch everything whole')
    .option('--key-file <file>', 'sign what is served, so that clients trust this key alone', collect);
  return addMemoryOptions(addTrustOptions(addClientOptions(verb))).action(runProxy);
}

async function runProxy(options: ProxyVerbOptions): Promise<void> {
  const { host, port } = parseAddress(options.listen);
  const maxSize = parseBytes(options.size, '--size');
  const priority = Number(options.priority);
  if (!Number.isSafeInteger(priority))
    throw usageError(`--priority takes a number, not '${options.priority}'`);
  await using session = await ClientSession.open(options);
  const { settings } = session;
  const uris = (options.from ?? settings.get('substituters')).filter((uri) => !isItself(uri, port));
  const sources: PathSource[] = [];
  for (const uri of uris) sources.push(await openSource(uri, session.context));
  const files = options.keyFile ?? [];
  const keys = await Promise.all(files.map(async (file) => SecretKey.parse(await readFile(file, 'utf8'))));
  const base = options.deltas ? await openBase(options.store, session) : undefined;
  const proxy = await startProxy({
    ...{ host, port, sources, maxSize, priority, keys, base },
    ...(await session.trust(options)),
    work: session.context.work,
    directory: options.directory ?? `${settings.directories.cacheDir.value}/proxy`,
    positiveTtl: 3_600_000,
    negativeTtl: 60_000,
    onNote: note,
  });
  process.stderr.write(
    `larder: ${uris.join(', ')} at ${proxy.url}, keeping ${formatBytes(maxSize)}\n` +
      `larder: substituters = ${proxy.url}\n`,
  );
  try {
    if (!session.signal.aborted) await once(session.signal, 'abort');
  } finally {
    await proxy.close();
    await base?.store.close();
  }
}

/** The store whose paths deltas are applied to; a machine without one has none, and fetches everything whole. */
async function openBase(uri: string, session: ClientSession): Promise<BaseStore | undefined> {
  const parsed = parseStoreUri(uri);
  if (isCacheUri(parsed) || parsed.kind === 'ssh-ng')
    throw usageError(`--store ${uri} is not a store on this machine: deltas are applied to its files`);
  const { stateDir, realStoreDir } = findStoreLayout(session.settings, parsed.parameters);
  if (!existsSync(`${stateDir}/db/db.sqlite`)) return undefined;
  const store = await openMachineStore(parsed, session.context);
  return { store, realPath: (path) => `${realStoreDir}/${path}` };
}

function parseAddress(text: string): { readonly host: string; readonly port: number } {
  const match = /^(?:\[(?<v6>[^\]]+)\]|(?<host>[^:]+)):(?<port>\d{1,5})$/.exec(text);
  const { v6, host, port } = match?.groups ?? {};
  if (port === undefined) throw usageError(`--listen takes HOST:PORT, not '${text}'`);
  return { host: v6 ?? host ?? '127.0.0.1', port: Number(port) };
}

/** A machine that uses its proxy has it among its substituters: it must not ask itself. */
function isItself(uri: string, port: number): boolean {
  return new RegExp(`^http://(localhost|127\\.0\\.0\\.1|\\[::1\\]):${port}(/|\\?|$)`).test(uri);
}
