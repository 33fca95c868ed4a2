import { text } from 'node:stream/consumers';
import { copyPaths } from '@larder/substituter/copy/copy-paths';
import type { Destination } from '@larder/substituter/copy/destination';
import { openDestination } from '@larder/substituter/open-destination';
import { openSource } from '@larder/substituter/open-store';
import { SourceSet } from '@larder/substituter/source-set';
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
import { CopyStats } from './copy-stats.js';
import { parsePathArguments } from './path-arguments.js';
import { createProgress, type ProgressOptions } from './progress.js';

export interface CopyVerbOptions extends ClientOptions, ProgressOptions {
  readonly from?: readonly string[];
  readonly to?: string;
  readonly recursive: boolean;
  readonly stats?: boolean;
  readonly stdin?: boolean;
}

/** Narinfos asked for at a time, over all connections to a cache. */
const queriesAtOnce = 64;

export function createCommand(): Command {
  const copy = createVerb('copy', {
    summary:
      'Copy paths, with all they refer to, between stores and caches: local, local?root=DIR, file://DIR, http(s)://…, s3://BUCKET.',
    examples: [
      [
        'larder copy --from https://cache.example.org --to local?root=/mnt --trusted-public-keys "$(cat key.public)" /nix/store/…-hello-2.12',
        'fetch a closure into a store under /mnt, accepting what that key signed',
      ],
      [
        'larder copy --to file:///srv/cache?compression=xz ./result',
        'put a build into a cache in a directory',
      ],
    ],
  })
    .argument('[path...]', 'store paths, their hash parts, or links to them')
    .option(
      '--from <store>',
      'where to copy from, the first that has a path; this machine without it',
      collect,
    )
    .option('--to <store>', 'where to copy to; this machine without it')
    .option('--no-recursive', 'only the paths themselves, not what they refer to')
    .option('--stats', 'print what came over the network, and what deltas saved')
    .option('--stdin', 'read paths from standard input, one a line');
  return addProgressOptions(addMemoryOptions(addTrustOptions(addClientOptions(copy)))).action(runCopy);
}

export function addProgressOptions(command: Command): Command {
  return command
    .option('--json', 'print events as JSON, one a line, on standard output')
    .option('-q, --quiet', 'print nothing but errors');
}

async function runCopy(paths: string[], options: CopyVerbOptions): Promise<void> {
  if (options.from === undefined && options.to === undefined) {
    throw usageError('name a store to copy --from, a store to copy --to, or both');
  }
  if (paths.length === 0 && options.stdin !== true) throw usageError('name at least one path');
  await using session = await ClientSession.open(options);
  const destination = await openDestination(
    options.to ?? 'auto',
    session.context,
    await session.trust(options),
  );
  try {
    await copyFrom(options.from ?? ['auto'], { session, destination, paths, options });
  } finally {
    await destination.close();
  }
}

export interface CopyJob {
  readonly session: ClientSession;
  readonly destination: Destination;
  readonly paths: readonly string[];
  readonly options: CopyVerbOptions;
}

/** Copies what the arguments name from these stores, showing how it goes. */
export async function copyFrom(
  from: readonly string[],
  { session, destination, paths, options }: CopyJob,
): Promise<void> {
  const sources = new SourceSet(await Promise.all(from.map((uri) => openSource(uri, session.context))), {
    onDisabled: (source, error) => note(`going on without ${source.uri}: ${(error as Error).message}`),
  });
  try {
    const texts = options.stdin === true ? [...paths, ...(await readLines())] : paths;
    if (texts.length === 0) throw usageError('name at least one path');
    const roots = await parsePathArguments(texts, {
      storeDir: destination.storeDir,
      lookup: (hashPart, read) => sources.findHashPart(hashPart, read),
      signal: session.signal,
    });
    const progress = createProgress(options);
    const stats = new CopyStats();
    await copyPaths(roots, {
      sources,
      destination,
      recursive: options.recursive,
      ...(await session.trust(options)),
      queries: queriesAtOnce,
      transfers: session.settings.get('max-substitution-jobs'),
      onEvent: (event) => {
        progress.listener(event);
        stats.note(event);
      },
      signal: session.signal,
    });
    progress.finish();
    if (options.stats === true) stats.print(options);
  } finally {
    await sources.close();
  }
}

/** Standard input, a line an element. */
export async function readLines(): Promise<string[]> {
  return (await text(process.stdin)).split('\n').filter((line) => line !== '');
}
