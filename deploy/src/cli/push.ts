import { openSource } from '@larder/substituter/open-store';
import { pushPaths } from '@larder/substituter/publish/push-paths';
import type { Command } from 'commander';
import { addClientOptions, type ClientOptions, ClientSession, note } from './client-session.js';
import { collect, createVerb, usageError } from './command.js';
import { addProgressOptions, readLines } from './copy.js';
import { fetchOidcToken, serverOfCache } from './oidc-token.js';
import { parsePathArguments } from './path-arguments.js';
import { createProgress, type ProgressOptions } from './progress.js';
import { findDeltaOrigins, makeDeltas } from './push-deltas.js';
import {
  addPublishOptions,
  openPublisher,
  openUpstreams,
  type PublishOptions,
  parseJobs,
  requireCache,
} from './push-options.js';

interface PushOptions extends ClientOptions, ProgressOptions, PublishOptions {
  readonly recursive: boolean;
  readonly stdin?: boolean;
  readonly oidc?: true;
  readonly deltaFrom?: readonly string[];
}

export function createCommand(): Command {
  const push = createVerb('push', {
    summary:
      'Publish paths of a store, with all they refer to, build logs and realisations, to a cache; what it has is not sent again.',
    examples: [
      [
        'larder push https://cache.example.org/main ./result --token-file ~/.config/larder/token',
        'publish a build and all it needs',
      ],
      [
        'larder push https://cache.example.org/main ./result --upstream-key cache.nixos.org-1',
        'leave out what cache.nixos.org signed, and so has: a server must take paths without what they refer to, or name it as its own upstream',
      ],
      [
        'nix-build | larder push file:///srv/cache --stdin --secret-key-file ./key.secret',
        'publish what was just built to a directory, signed with a key of your own',
      ],
      [
        'larder push --oidc https://cache.example.org/main ./result',
        'from a job on GitHub or GitLab, without a stored secret',
      ],
      [
        'larder push https://cache.example.org/main ./result --delta-from release',
        "with the deltas from what the pin 'release' stands for, so that no client waits for them",
      ],
    ],
  })
    .argument('<cache>', 'http(s)://HOST/CACHE of a Larder server, or any cache that takes uploads')
    .argument('[path...]', 'store paths, their hash parts, or links to them')
    .option('--no-recursive', 'only the paths themselves, not what they refer to')
    .option('--stdin', 'read paths from standard input, one a line')
    .option(
      '--delta-from <pin or path>',
      'make the deltas from this older closure in the store, too: of a pin of the cache, or of a path',
      collect,
    )
    .option('--oidc', "log in with this CI job's ID token: GitHub's, or that in LARDER_ID_TOKEN");
  return addProgressOptions(addPublishOptions(addClientOptions(push))).action(runPush);
}

async function runPush(cache: string, paths: string[], options: PushOptions): Promise<void> {
  requireCache(cache);
  if (paths.length === 0 && options.stdin !== true) throw usageError('name at least one path');
  const token = options.oidc === true ? await fetchOidcToken(serverOfCache(cache)) : undefined;
  // What is pushed is no longer remembered to be absent.
  await using session = await ClientSession.open({ ...options, refresh: false }, token);
  const { signal } = session;
  const jobs = parseJobs(options, session);
  await using upstreams = await openUpstreams(options, session);
  const source = await openSource(options.store, session.context);
  try {
    const destination = await openPublisher(cache, options, session);
    try {
      const texts = options.stdin === true ? [...paths, ...(await readLines())] : paths;
      if (texts.length === 0) throw usageError('name at least one path');
      const roots = await parsePathArguments(texts, {
        storeDir: source.storeDir,
        lookup: (hashPart, read) => source.queryPathFromHashPart(hashPart, read),
        signal,
      });
      const progress = createProgress(options);
      const { recursive } = options;
      const onEvent = progress.listener;
      await pushPaths(roots, {
        source,
        destination,
        recursive,
        upstreams,
        jobs,
        onEvent,
        onNote: note,
        signal,
      });
      if (options.deltaFrom !== undefined) {
        const from = await findDeltaOrigins(options.deltaFrom, { cache, source, options, session });
        await makeDeltas(roots, { from, source, destination, session });
      }
      progress.finish();
    } finally {
      await destination.close();
    }
  } finally {
    await source.close();
  }
}
