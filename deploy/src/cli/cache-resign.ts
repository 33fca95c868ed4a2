import { setTimeout as delay } from 'node:timers/promises';
import type { ResignJob } from '@larder/cache-server/http/admin-bodies';
import type { Command } from 'commander';
import { createVerb } from './command.js';
import { addServerOptions, ServerApi, type ServerOptions } from './server-api.js';

/** `larder cache key resign`: brings all signatures up to date after a rotation. */
export function createResignCommand(): Command {
  return addServerOptions(
    createVerb('resign', {
      summary:
        'Sign all paths with the keys in use. Without it, each path gets its new signatures when it is next read. Paths that ' +
        'no key of the cache signed are left as they are.',
      examples: [
        ['larder cache key resign main', 'after larder cache key add'],
        ['larder cache key resign main --drop-retired', 'at the end of a rotation'],
      ],
    }),
  )
    .argument('<cache>', "the cache's name, or its URL")
    .option('--drop-retired', 'take off the signatures of retired keys')
    .action(async (cache: string, options: ServerOptions & { readonly dropRetired?: true }) => {
      const { api, path } = await ServerApi.openCache(cache, options);
      await api.call('POST', `${path}/resign`, { dropRetired: options.dropRetired === true });
      for (let pause = 50; ; pause = Math.min(pause * 1.5, 2000)) {
        const job = await api.call<ResignJob>('GET', `${path}/resign`);
        if (job.finishedAt !== undefined) {
          process.stdout.write(`signed ${job.changed} of ${job.seen} paths anew\n`);
          return;
        }
        await delay(pause);
      }
    });
}

/** `larder cache key remove`. */
export function createRemoveKeyCommand(): Command {
  return addServerOptions(
    createVerb('remove', {
      summary:
        'Forget a retired key: its public half is no longer listed. What only it signed is not trusted any more.',
      examples: [['larder cache key remove main main-1', 'after larder cache key resign main']],
    }),
  )
    .argument('<cache>', "the cache's name, or its URL")
    .argument('<key>', 'the name of the key')
    .action(async (cache: string, name: string, options: ServerOptions) => {
      const { api, path } = await ServerApi.openCache(cache, options);
      await api.call('DELETE', `${path}/keys/${encodeURIComponent(name)}`);
    });
}
