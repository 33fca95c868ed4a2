import { openIntake } from '@larder/cache-server/intake';
import { AtticDatabase } from '@larder/cache-server/migrate/attic/attic-database';
import { type AtticMigration, migrateAttic } from '@larder/cache-server/migrate/attic/migrate-attic';
import { createClient } from '@larder/substituter/client';
import { loadSettings } from '@larder/substituter/config';
import type { Command } from 'commander';
import { AtticStorage } from '../migrate/attic-storage.js';
import { withFoundation } from './admin-place.js';
import { note } from './client-session.js';
import { collect, createVerb, usageError } from './command.js';
import { addMigrateOptions, type MigrateVerbOptions, readUpstreamOptions } from './migrate-options.js';
import { describeMigration, describeRefused, MigrationReporter } from './migrate-report.js';
import { formatDuration, parseDuration } from './units.js';

interface AtticOptions extends MigrateVerbOptions {
  readonly database: string;
  readonly storage: readonly string[];
  readonly cache?: readonly string[];
  readonly defaultRetention?: string;
  readonly merge?: true;
}

/** The key of the cache that nearly every attic cache leaves paths to. */
const NIXOS_KEY = 'cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=';
const NIXOS_URL = 'https://cache.nixos.org';

/** `larder admin migrate attic`. */
export function createMigrateAtticCommand(): Command {
  const command = createVerb('attic', {
    summary:
      'Take over the caches of an attic server, with their visibility, priority, retention and signing keys. NARs are put ' +
      'together from chunks, verified, and stored as uploads are. Exits with 1 when something is left out.',
    examples: [
      [
        'larder admin migrate attic --config /etc/larder.toml --database sqlite:///var/lib/atticd/server.db --storage /var/lib/atticd/storage --dry-run',
        'what there is to move',
      ],
      [
        'larder admin migrate attic --config larder.toml --database postgres://attic@db/attic --storage s3://attic?region=eu-central-1 ' +
          `--cache team --cache Old+Stuff=old-stuff --upstream ${NIXOS_URL} --upstream-key ${NIXOS_KEY}`,
        'two caches, one under another name; what their clients never pushed comes from cache.nixos.org',
      ],
    ],
  });
  return addMigrateOptions(command)
    .requiredOption(
      '--database <url>',
      "attic's database, as its server.toml has it: sqlite://FILE, postgres://…",
    )
    .requiredOption(
      '--storage <place>',
      "attic's storage: a directory, or s3://BUCKET?endpoint=…&region=…",
      collect,
    )
    .option('--cache <name>', 'only this cache; NAME=NEW gives it another name here; repeatable', collect)
    .option('--default-retention <time>', "attic's default-retention-period, if it has one: 180d")
    .option('--merge', 'into caches of the same names that are here already, which sign with both keys then')
    .action(runMigrateAttic);
}

async function runMigrateAttic(options: AtticOptions): Promise<void> {
  const { defaultRetention, jobs, json } = options;
  const retention =
    defaultRetention === undefined
      ? undefined
      : parseDuration(defaultRetention, '--default-retention') * 1000;
  const names = readNames(options.cache ?? []);
  await using client = createClient(loadSettings());
  const upstreams = await readUpstreamOptions(options, client.context);
  await using files = await AtticStorage.open(options.storage, client.context);
  await using database = await AtticDatabase.open(options.database);
  const isDry = options.dryRun === true;
  const reporter = new MigrationReporter(json === true || isDry);
  const results = await withFoundation(options, async (foundation) => {
    await using intake = openIntake(foundation);
    return await migrateAttic(
      { foundation, intake },
      { database, files },
      {
        names,
        upstreams,
        jobs,
        dryRun: isDry,
        merge: options.merge === true,
        ...(retention === undefined ? {} : { defaultRetention: retention }),
        onRefused: reporter.onRefused,
        onProgress: reporter.onProgress,
      },
    );
  });
  process.stdout.write(
    json === true
      ? `${JSON.stringify(results)}\n`
      : results.map((result) => describe(result, isDry)).join(''),
  );
  for (const result of results) remark(result);
  if (results.some(({ migration, why }) => why !== undefined || (migration?.refused.length ?? 0) > 0))
    process.exitCode = 1;
}

/** @throws `usage` */
function readNames(caches: readonly string[]): Map<string, string> {
  return new Map(
    caches.map((text) => {
      const [from = '', to = from, ...more] = text.split('=');
      if (from === '' || to === '' || more.length > 0)
        throw usageError(`--cache takes NAME or NAME=NEW, not '${text}'`);
      return [from, to];
    }),
  );
}

function describe(result: AtticMigration, isDry: boolean): string {
  const { from, cache, migration, why } = result;
  const title = from === cache ? cache : `${from}, here ${cache}`;
  if (migration === undefined) return `${title}: left out: ${why}\n`;
  const lines = [`${title}: ${settings(result)}\n  ${describeMigration(migration, isDry)}\n`];
  if (isDry) lines.push(...migration.refused.map((refused) => describeRefused(cache, refused)));
  return lines.join('');
}

function settings({ public: isPublic, priority, publicKey, retention }: AtticMigration): string {
  const parts = [isPublic ? 'public' : 'private', `priority ${priority}`];
  if (retention?.unused !== undefined)
    parts.push(`paths go when unused for ${formatDuration(retention.unused / 1000)}`);
  return `${parts.join(', ')}, ${publicKey}`;
}

/** What attic leaves to upstreams it only has the key names of, and somebody must say where they are. */
function remark({ cache, migration, unknownUpstreams }: AtticMigration): void {
  if (migration === undefined || migration.outside === 0 || unknownUpstreams.length === 0) return;
  const isNixos = unknownUpstreams.includes(NIXOS_KEY.split(':')[0] ?? '');
  note(
    `${cache}: its paths refer to ${migration.outside} that attic does not have, left to ${unknownUpstreams.join(', ')}. ` +
      `Say where these are: ${
        isNixos
          ? `--upstream ${NIXOS_URL} --upstream-key ${NIXOS_KEY}`
          : '--upstream URL --upstream-key NAME:BASE64'
      }`,
  );
}
