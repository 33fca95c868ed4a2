import { setTimeout as delay } from 'node:timers/promises';
import type { CollectionDescription, CollectionPage } from '@larder/cache-server/http/collection-bodies';
import { LarderError } from '@larder/signing/errors';
import type { Command } from 'commander';
import { createVerb } from './command.js';
import { addServerOptions, ServerApi, type ServerOptions } from './server-api.js';
import { formatBytes } from './units.js';

interface GcOptions extends ServerOptions {
  readonly dryRun?: true;
  readonly json?: true;
}

const PAGE = 10_000;

/** `larder cache gc`: a collection by the cache's retention, now. */
export function createGcCommand(): Command {
  return addServerOptions(
    createVerb('gc', {
      summary:
        'Take out of a cache what its retention lets go: paths that are too old, unused or too much, that no pin and no kept ' +
        'path needs. Their NARs stay as long as clients may remember the narinfos (30 days).',
      examples: [
        ['larder cache gc main --dry-run', 'what would go, and how much that is'],
        ['larder cache gc main', 'now rather than when it is due'],
      ],
    }),
  )
    .argument('<cache>', "the cache's name, or its URL")
    .option('--dry-run', 'only list and sum up')
    .option('--json', 'print JSON')
    .action(async (cache: string, options: GcOptions) => {
      const { api, path } = await ServerApi.openCache(cache, options);
      const collections = `${path}/collections`;
      const dryRun = options.dryRun === true;
      const { id } = await api.call<CollectionDescription>('POST', collections, { dryRun });
      const ended = await waitFor(api, `${collections}/${id}`);
      if (ended.state === 'failed')
        throw new LarderError('collection-failed', ended.error ?? 'the collection failed');
      if (options.json === true) {
        const paths = dryRun ? await allPaths(api, `${collections}/${id}`) : [];
        const { paths: _, ...summary } = ended;
        process.stdout.write(`${JSON.stringify(dryRun ? { ...summary, paths } : summary, undefined, 2)}\n`);
        return;
      }
      if (dryRun) await listPaths(api, `${collections}/${id}`);
      process.stdout.write(describe(ended));
    });
}

async function waitFor(api: ServerApi, path: string): Promise<CollectionPage> {
  for (let pause = 50; ; pause = Math.min(pause * 1.5, 2000)) {
    const page = await api.call<CollectionPage>('GET', `${path}?limit=0`);
    if (page.finishedAt !== undefined) return page;
    await delay(pause);
  }
}

async function* pages(api: ServerApi, path: string): AsyncIterable<CollectionPage['paths']> {
  for (let after = 0; ; ) {
    const { paths } = await api.call<CollectionPage>('GET', `${path}?after=${after}&limit=${PAGE}`);
    const last = paths.at(-1);
    if (last === undefined) return;
    yield paths;
    after = last.number;
  }
}

async function allPaths(api: ServerApi, path: string): Promise<CollectionPage['paths']> {
  const all = [];
  for await (const page of pages(api, path)) all.push(...page);
  return all;
}

async function listPaths(api: ServerApi, path: string): Promise<void> {
  for await (const page of pages(api, path))
    for (const each of page)
      process.stdout.write(`${each.path}  ${formatBytes(each.bytes)}, last used ${each.lastUsedAt}\n`);
}

function describe(collection: CollectionDescription): string {
  const { dryRun, plannedPaths, plannedBytes, withdrawnPaths, deletedNars, deletedBytes } = collection;
  if (dryRun) return `would take out ${plannedPaths} paths, ${formatBytes(plannedBytes)}\n`;
  const spared = plannedPaths - withdrawnPaths;
  const remark = spared === 0 ? '' : `; ${spared} more were needed again meanwhile`;
  return (
    `took out ${withdrawnPaths} paths, ${formatBytes(plannedBytes)}${remark}\n` +
    `deleted ${deletedNars} NARs whose time was up, ${formatBytes(deletedBytes)}\n`
  );
}
