import { readFile } from 'node:fs/promises';
import { SecretKey } from '@larder/signing/key';
import type { Destination } from '@larder/substituter/copy/destination';
import { openDestination } from '@larder/substituter/open-destination';
import { isCacheUri, openSource } from '@larder/substituter/open-store';
import type { Upstreams } from '@larder/substituter/publish/upstreams';
import type { PushTarget } from '@larder/substituter/push-queue/push-target';
import { parseStoreUri } from '@larder/substituter/store-uri';
import type { Command } from 'commander';
import type { ClientSession } from './client-session.js';
import { collect, usageError } from './command.js';

/** Options of every verb that publishes. */
export interface PublishOptions {
  readonly store: string;
  readonly secretKeyFile?: readonly string[];
  readonly upstream?: readonly string[];
  readonly upstreamKey?: readonly string[];
  readonly jobs?: string;
}

/** Narinfos asked for at a time, over all connections to a cache. */
const queriesAtOnce = 64;

export function addPublishOptions(command: Command): Command {
  return command
    .option('--store <store>', 'the store that has the paths', 'auto')
    .option(
      '--secret-key-file <file>',
      'sign with the key in this file, beside what the server signs with',
      collect,
    )
    .option('--upstream <cache>', 'leave out what this cache has; asks it', collect)
    .option('--upstream-key <name>', 'leave out what the key of this name signed; asks nobody', collect)
    .option('-j, --jobs <number>', 'large paths sent at a time');
}

/** The cache of an argument. @throws `usage` */
export function requireCache(text: string): string {
  if (isCacheUri(parseStoreUri(text))) return text;
  throw usageError(`'${text}' is not a cache; 'larder copy --to' fills stores`);
}

export function parseJobs(options: PublishOptions, session: ClientSession): number {
  if (options.jobs === undefined) return session.settings.get('max-substitution-jobs');
  if (/^[1-9]\d{0,3}$/.test(options.jobs)) return Number(options.jobs);
  throw usageError(`--jobs takes a number above zero, not '${options.jobs}'`);
}

/** Opens a cache to publish to, with the keys that sign for it. */
export async function openPublisher(
  cache: string,
  { secretKeyFile = [] }: Pick<PublishOptions, 'secretKeyFile'>,
  session: ClientSession,
): Promise<Destination> {
  const keys = secretKeyFile.map(async (file) => SecretKey.parse(await readFile(file, 'utf8')));
  return openDestination(cache, session.context, { secretKeys: await Promise.all(keys) });
}

/** The caches and keys whose paths stay here. Disposing of it closes them. */
export async function openUpstreams(
  { upstream = [], upstreamKey = [] }: Pick<PublishOptions, 'upstream' | 'upstreamKey'>,
  session: ClientSession,
): Promise<Upstreams & AsyncDisposable> {
  const caches = await Promise.all(upstream.map((uri) => openSource(uri, session.context)));
  return {
    // `name-1:base64` is what people have at hand.
    keyNames: new Set(upstreamKey.map((text) => text.replace(/:.*/, ''))),
    caches,
    queries: queriesAtOnce,
    async [Symbol.asyncDispose]() {
      await Promise.all(caches.map((cache) => cache.close()));
    },
  };
}

/** The target of a queue that these options mean. */
export function pushTarget(
  cache: string,
  options: PublishOptions & { readonly tokenFile?: string },
): PushTarget {
  return {
    cache,
    store: options.store,
    ...(options.tokenFile === undefined ? {} : { tokenFile: options.tokenFile }),
    ...(options.secretKeyFile === undefined ? {} : { secretKeyFiles: options.secretKeyFile }),
    ...(options.upstream === undefined ? {} : { upstreams: options.upstream }),
    ...(options.upstreamKey === undefined ? {} : { upstreamKeys: options.upstreamKey }),
  };
}
