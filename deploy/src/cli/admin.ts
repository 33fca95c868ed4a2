import { loadConfig } from '@larder/cache-server/config';
import { openLog } from '@larder/cache-server/logger';
import { type Reindexed, reindex } from '@larder/cache-server/reindex';
import { openFoundation } from '@larder/cache-server/start';
import type { Command } from 'commander';
import { createVerb } from './command.js';

interface ReindexOptions {
  readonly config?: string;
  readonly data?: string;
  readonly json?: true;
}

export function createCommand(): Command {
  const admin = createVerb('admin', {
    summary: "Look after a server's database and storage, on the machine that can reach both.",
    examples: [
      ['larder admin reindex --data /var/lib/larder', 'rebuild a lost database from what is stored'],
    ],
  });
  admin.addCommand(
    createVerb('reindex', {
      summary:
        'Rebuild the database from the storage: every narinfo whose NAR is there becomes a path again. What the database ' +
        'has stays. Safe beside a running server.',
      examples: [
        ['larder admin reindex --config /etc/larder.toml', 'the storage and database of that server'],
      ],
    })
      .option('--config <file>', "the server's larder.toml")
      .option('--data <dir>', "the server's data directory")
      .option('--json', 'print what was found as JSON')
      .action(runReindex),
  );
  return admin;
}

async function runReindex({ config: file, data, json }: ReindexOptions): Promise<void> {
  const config = await loadConfig({
    ...(file === undefined ? {} : { file }),
    ...(data === undefined ? {} : { overrides: { data } }),
  });
  // Standard output is for the result.
  await using log = openLog({ ...config.log, level: 'silent' });
  await using foundation = await openFoundation(config, log.logger);
  const results = await reindex(foundation);
  process.stdout.write(json === true ? `${JSON.stringify(results)}\n` : results.map(describe).join(''));
  if (results.some(({ refused, dangling }) => refused.length + dangling > 0)) process.exitCode = 1;
}

function describe({ cache, added, refused, dangling }: Reindexed): string {
  const lines = [`${cache}: ${added} paths added`];
  for (const { narinfo, why } of refused) lines.push(`  left out ${narinfo}: ${why}`);
  if (dangling > 0) lines.push(`  taken out ${dangling} paths that refer to paths which are not there`);
  return `${lines.join('\n')}\n`;
}
