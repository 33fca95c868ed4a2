import { openLog } from '@larder/cache-server/logger';
import { prepareServer } from '@larder/cache-server/prepare';
import { type Reindexed, reindex } from '@larder/cache-server/reindex';
import type { Command } from 'commander';
import { createCopyStorageCommand } from './admin-copy.js';
import { createFsckCommand } from './admin-fsck.js';
import { createExportCommand, createImportCommand } from './admin-metadata.js';
import { createMigrateCommand } from './admin-migrate.js';
import { addPlaceOptions, readServerConfig, type ServerPlace, withFoundation } from './admin-place.js';
import { createVerb } from './command.js';

interface ReindexOptions extends ServerPlace {
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
    addPlaceOptions(
      createVerb('reindex', {
        summary:
          'Rebuild the database from the storage: every narinfo whose NAR is there becomes a path again. What the database ' +
          'has stays. Safe beside a running server.',
        examples: [
          ['larder admin reindex --config /etc/larder.toml', 'the storage and database of that server'],
        ],
      }),
    )
      .option('--json', 'print what was found as JSON')
      .action(runReindex),
  );
  admin.addCommand(
    addPlaceOptions(
      createVerb('prepare', {
        summary:
          'Bring the tables of the database up to date and make what a first start makes, and end: for deployments that do so ' +
          'once, before replicas start. Done again it changes nothing.',
        examples: [
          ['larder admin prepare --config /etc/larder.toml', 'migrate the database of that server'],
          ['larder admin prepare --config /etc/larder.toml --create-bucket', 'make the S3 bucket as well'],
        ],
      }),
    )
      .option('--create-bucket', 'make the bucket, unless it is there')
      .action(runPrepare),
  );
  admin.addCommand(createFsckCommand());
  admin.addCommand(createExportCommand());
  admin.addCommand(createImportCommand());
  admin.addCommand(createCopyStorageCommand());
  admin.addCommand(createMigrateCommand());
  return admin;
}

interface PrepareOptions extends ServerPlace {
  readonly createBucket?: true;
}

async function runPrepare(options: PrepareOptions): Promise<void> {
  const config = await readServerConfig(options);
  await using log = openLog({ ...config.log, level: 'silent' });
  const made = await prepareServer(config, log.logger, { createBucket: options.createBucket ?? false });
  for (const cache of made.caches) process.stdout.write(`made cache ${cache}\n`);
  if (made.madeToken) process.stdout.write(`the admin token is in ${made.tokenFile}\n`);
  process.stdout.write('ready to serve\n');
}

async function runReindex({ json, ...place }: ReindexOptions): Promise<void> {
  const results = await withFoundation(place, reindex);
  process.stdout.write(json === true ? `${JSON.stringify(results)}\n` : results.map(describe).join(''));
  if (results.some(({ refused, dangling }) => refused.length + dangling > 0)) process.exitCode = 1;
}

function describe({ cache, added, refused, dangling }: Reindexed): string {
  const lines = [`${cache}: ${added} paths added`];
  for (const { narinfo, why } of refused) lines.push(`  left out ${narinfo}: ${why}`);
  if (dangling > 0) lines.push(`  taken out ${dangling} paths that refer to paths which are not there`);
  return `${lines.join('\n')}\n`;
}
