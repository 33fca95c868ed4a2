import { openDestination } from '@larder/substituter/open-destination';
import { isCacheUri } from '@larder/substituter/open-store';
import { parseStoreUri } from '@larder/substituter/store-uri';
import type { Command } from 'commander';
import { addClientOptions, ClientSession } from './client-session.js';
import { createVerb, usageError } from './command.js';
import { addProgressOptions, type CopyVerbOptions, copyFrom } from './copy.js';
import { fetchOidcToken, serverOfCache } from './oidc-token.js';

interface PushOptions extends Omit<CopyVerbOptions, 'from' | 'to'> {
  readonly store: string;
  readonly oidc?: true;
}

export function createCommand(): Command {
  const push = createVerb('push', {
    summary: 'Publish paths of a store, with all they refer to, to a cache; what it has is not sent again.',
    examples: [
      [
        'larder push https://cache.example.org/main ./result --token-file ~/.config/larder/token',
        'publish a build and all it needs',
      ],
      [
        'larder push --oidc https://cache.example.org/main ./result',
        'from a job on GitHub or GitLab, without a stored secret',
      ],
    ],
  })
    .argument('<cache>', 'http(s)://HOST/CACHE of a Larder server, or any cache that takes uploads')
    .argument('[path...]', 'store paths, their hash parts, or links to them')
    .option('--store <store>', 'the store that has the paths', 'auto')
    .option('--no-recursive', 'only the paths themselves, not what they refer to')
    .option('--stdin', 'read paths from standard input, one a line')
    .option('--oidc', "log in with this CI job's ID token: GitHub's, or that in LARDER_ID_TOKEN");
  return addProgressOptions(addClientOptions(push)).action(runPush);
}

async function runPush(cache: string, paths: string[], options: PushOptions): Promise<void> {
  if (!isCacheUri(parseStoreUri(cache)))
    throw usageError(`'${cache}' is not a cache; 'larder copy --to' fills stores`);
  if (paths.length === 0 && options.stdin !== true) throw usageError('name at least one path');
  const token = options.oidc === true ? await fetchOidcToken(serverOfCache(cache)) : undefined;
  await using session = await ClientSession.open(options, token);
  const destination = await openDestination(cache, session.context);
  try {
    await copyFrom([options.store], { session, destination, paths, options });
  } finally {
    await destination.close();
  }
}
