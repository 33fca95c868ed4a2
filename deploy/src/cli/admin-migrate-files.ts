import { readFile } from 'node:fs/promises';
import { checkCacheName } from '@larder/cache-server/caches/cache';
import { openIntake } from '@larder/cache-server/intake';
import { migrateCache, surveyMigration } from '@larder/cache-server/migrate/migrate-cache';
import type { Migration } from '@larder/cache-server/migrate/migration';
import { type CacheElsewhere, takeOverCache } from '@larder/cache-server/migrate/take-over-cache';
import type { Foundation } from '@larder/cache-server/start';
import { parseCacheInfo } from '@larder/signing/cache-info';
import { SecretKey } from '@larder/signing/key';
import { HASH_PART_LENGTH, isHashPart, StoreDir } from '@larder/signing/store-path';
import { TrustedKeys } from '@larder/signing/trust';
import type { CacheFiles } from '@larder/substituter/binary-cache/cache-files';
import { createClient } from '@larder/substituter/client';
import { loadSettings } from '@larder/substituter/config';
import { type OpenContext, openCacheFiles } from '@larder/substituter/open-store';
import { parseStoreUri } from '@larder/substituter/store-uri';
import type { Command } from 'commander';
import { CacheFilesSource } from '../migrate/cache-files-source.js';
import { withFoundation } from './admin-place.js';
import { collect, createVerb, usageError } from './command.js';
import { addMigrateOptions, type MigrateVerbOptions, readUpstreamOptions } from './migrate-options.js';
import { describeMigration, describeRefused, MigrationReporter } from './migrate-report.js';

interface FilesOptions extends MigrateVerbOptions {
  readonly cache: string;
  readonly public?: true;
  readonly secretKeyFile?: readonly string[];
  readonly trustedPublicKeys?: readonly string[];
  readonly pathsFrom?: string;
}

/** `larder admin migrate files`. */
export function createMigrateFilesCommand(): Command {
  const command = createVerb('files', {
    summary:
      'Take over a cache of files, as nix copy fills directories and buckets, into a cache here: NARs are verified and stored ' +
      'as uploads are, signatures kept. Exits with 1 when something is left out.',
    examples: [
      [
        'larder admin migrate files /srv/old-cache --cache old --public --secret-key-file /etc/nix/old.secret --config /etc/larder.toml',
        'a directory; what is pushed from now on is signed with the old key as well',
      ],
      [
        'larder admin migrate files https://cache.example.org --paths-from paths --cache old --config /etc/larder.toml',
        'of a cache that cannot be listed, these paths and what they refer to',
      ],
    ],
  });
  return addMigrateOptions(command)
    .argument('<source>', 'a directory, file://DIR, s3://BUCKET?endpoint=…&region=… or http(s)://…')
    .requiredOption('--cache <name>', 'the cache here that takes the paths; made unless it is there')
    .option('--public', 'if it is made, everyone may read it')
    .option('--secret-key-file <file>', 'a key of the old cache, to go on signing with; repeatable', collect)
    .option('--trusted-public-keys <keys>', 'take only what one of these keys signed', collect)
    .option(
      '--paths-from <file>',
      'store paths, one a line: these and all they refer to, rather than everything',
    )
    .action(runMigrateFiles);
}

async function runMigrateFiles(place: string, options: FilesOptions): Promise<void> {
  checkCacheName(options.cache);
  const secrets = options.secretKeyFile ?? [];
  const keys = await Promise.all(secrets.map(async (file) => SecretKey.parse(await readFile(file, 'utf8'))));
  await using client = createClient(loadSettings());
  const upstreams = await readUpstreamOptions(options, client.context);
  const files = await openFiles(place, client.context);
  try {
    const { storeDir, priority } = await readInfo(files);
    const { trustedPublicKeys, pathsFrom } = options;
    const source = new CacheFilesSource(files, {
      storeDir,
      ...(trustedPublicKeys === undefined ? {} : { trusted: TrustedKeys.parse(trustedPublicKeys) }),
      ...(pathsFrom === undefined ? {} : { roots: await readRoots(pathsFrom, storeDir) }),
    });
    const wanted: CacheElsewhere = {
      name: options.cache,
      public: options.public === true,
      ...(priority === undefined ? {} : { priority }),
      storeDir,
      keys,
      options: upstreams.length === 0 ? {} : { upstreams },
    };
    const migration = await withFoundation(options, (foundation) =>
      run(foundation, { source, wanted, options }),
    );
    print(migration, options);
  } finally {
    await files.close();
  }
}

async function run(
  foundation: Foundation,
  { source, wanted, options }: { source: CacheFilesSource; wanted: CacheElsewhere; options: FilesOptions },
): Promise<Migration> {
  const known = await foundation.caches.find(wanted.name);
  if (options.dryRun === true) return surveyMigration(source, { foundation, cache: known });
  // Whoever names a cache that is there means it, as public as it is.
  const merged = { ...wanted, public: known?.public ?? wanted.public };
  const cache = await takeOverCache(foundation.caches, merged, { merge: true });
  await using intake = openIntake(foundation);
  const reporter = new MigrationReporter(options.json === true);
  return await migrateCache({ foundation, intake }, cache, {
    source,
    jobs: options.jobs,
    onRefused: (refused) => reporter.onRefused(cache.name, refused),
    onProgress: (migration) => reporter.onProgress(cache.name, migration),
  });
}

function print(migration: Migration, { cache, json, dryRun }: FilesOptions): void {
  const isDry = dryRun === true;
  if (migration.refused.length > 0) process.exitCode = 1;
  if (json === true) {
    process.stdout.write(`${JSON.stringify({ cache, migration })}\n`);
    return;
  }
  process.stdout.write(`${cache}: ${describeMigration(migration, isDry)}\n`);
  if (isDry)
    process.stdout.write(migration.refused.map((refused) => describeRefused(cache, refused)).join(''));
}

async function openFiles(place: string, context: OpenContext): Promise<CacheFiles> {
  const uri = parseStoreUri(/^[a-z0-9]+:\/\//i.test(place) ? place : `file://${encodeURIComponent(place)}`);
  if (uri.kind === 'file' || uri.kind === 's3' || uri.kind === 'http') return openCacheFiles(uri, context);
  throw usageError(`'${place}' is not a cache: give a directory, s3://BUCKET or http(s)://…`);
}

async function readInfo(files: CacheFiles): Promise<{ storeDir: StoreDir; priority?: number }> {
  const bytes = await files.read('nix-cache-info');
  if (bytes === undefined)
    throw usageError(`${files.uri} has no nix-cache-info: it is not a binary cache, or not its root`);
  const { storeDir, priority } = parseCacheInfo(Buffer.from(bytes).toString('utf8'));
  return { storeDir: new StoreDir(storeDir), ...(priority === undefined ? {} : { priority }) };
}

/** @throws `usage` */
async function readRoots(file: string, storeDir: StoreDir): Promise<string[]> {
  const lines = (await readFile(file, 'utf8')).split('\n').map((line) => line.trim());
  return lines
    .filter((line) => line !== '')
    .map((line) => {
      const hashPart = line.replace(`${storeDir.path}/`, '').slice(0, HASH_PART_LENGTH);
      if (isHashPart(hashPart)) return hashPart;
      throw usageError(`${file}: '${line}' is not a store path`);
    });
}
