import { availableParallelism } from 'node:os';
import type { Upstream } from '@larder/cache-server/caches/cache-options';
import { PublicKey } from '@larder/signing/key';
import { type OpenContext, openCacheFiles } from '@larder/substituter/open-store';
import { parseStoreUri } from '@larder/substituter/store-uri';
import type { Command } from 'commander';
import { addPlaceOptions, type ServerPlace } from './admin-place.js';
import { collect, usageError } from './command.js';

/** What all kinds of migration take. */
export interface MigrateVerbOptions extends ServerPlace {
  readonly jobs: number;
  readonly dryRun?: true;
  readonly json?: true;
  readonly upstream?: readonly string[];
  readonly upstreamKey?: readonly string[];
}

export function addMigrateOptions(command: Command): Command {
  return addPlaceOptions(command)
    .option(
      '--upstream <url>',
      'a cache that has what this one leaves out, such as https://cache.nixos.org: asked for references, and later for paths',
      collect,
    )
    .option('--upstream-key <key>', 'the public key that signs what it has; one for each --upstream', collect)
    .option('--jobs <count>', 'NARs that are moved at once', parseJobs, 2 * availableParallelism())
    .option('--dry-run', 'count what there is to do by the index of the other cache, and change nothing')
    .option('--json', 'print what was done as JSON');
}

function parseJobs(text: string): number {
  if (/^[1-9]\d{0,2}$/.test(text)) return Number(text);
  throw usageError(`--jobs takes a number from 1, not '${text}'`);
}

/**
 * The upstreams that are named, each after it has answered: one that does not would look like one that has nothing.
 * @throws `usage`, `key-malformed`, `cache-unreachable`
 */
export async function readUpstreamOptions(
  { upstream = [], upstreamKey = [] }: MigrateVerbOptions,
  context: OpenContext,
): Promise<Upstream[]> {
  if (upstream.length !== upstreamKey.length)
    throw usageError(
      '--upstream URL and --upstream-key NAME:BASE64 go together, one of each for every upstream',
    );
  const upstreams = upstream.map((url, index) => ({
    url: url.replace(/\/+$/, ''),
    publicKeys: [PublicKey.parse(upstreamKey[index] ?? '').format()],
  }));
  for (const { url } of upstreams) await checkUpstream(url, context);
  return upstreams;
}

async function checkUpstream(url: string, context: OpenContext): Promise<void> {
  const uri = parseStoreUri(url);
  if (uri.kind !== 'http') throw usageError(`--upstream takes http(s)://…, not '${url}'`);
  const files = await openCacheFiles(uri, context);
  try {
    if ((await files.read('nix-cache-info')) === undefined)
      throw usageError(`--upstream: ${url} has no nix-cache-info: it is not a binary cache`);
  } finally {
    await files.close();
  }
}
