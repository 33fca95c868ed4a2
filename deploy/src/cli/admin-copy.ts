import { type Copied, copyStorage } from '@larder/cache-server/admin/copy-storage';
import { checkCacheName } from '@larder/cache-server/caches/cache';
import { openStorage } from '@larder/cache-server/start';
import type { Command } from 'commander';
import { readServerConfig } from './admin-place.js';
import { createVerb } from './command.js';
import { formatBytes } from './units.js';

interface CopyStorageOptions {
  readonly from: string;
  readonly to: string;
  readonly as?: string;
  readonly dryRun?: true;
  readonly json?: true;
}

/** `larder admin copy-storage`. */
export function createCopyStorageCommand(): Command {
  return createVerb('copy-storage', {
    summary:
      'Copy every object of one storage to another: disk to S3, or back. Run again, it goes on: what is there, as large and no ' +
      'older, is left alone. Narinfos come last, so the copy is a valid cache at any moment.',
    examples: [
      [
        'larder admin copy-storage --from disk.toml --to s3.toml',
        'beside the running server, then once more when it is stopped',
      ],
      [
        'larder admin copy-storage --from stock-bucket.toml --to larder.toml --as old',
        'take in a bucket that nix copy filled, as the cache old; then larder admin reindex',
      ],
    ],
  })
    .requiredOption('--from <file>', 'a larder.toml whose storage is read')
    .requiredOption('--to <file>', 'a larder.toml whose storage is written')
    .option('--as <cache>', 'the source is one cache, with nothing above it: copy it as a cache of this name')
    .option('--dry-run', 'count, and copy nothing')
    .option('--json', 'print what was done as JSON')
    .action(runCopyStorage);
}

async function runCopyStorage({ from, to, as, dryRun, json }: CopyStorageOptions): Promise<void> {
  if (as !== undefined) checkCacheName(as);
  await using source = await openStorage(await readServerConfig({ config: from }));
  await using target = await openStorage(await readServerConfig({ config: to }));
  const copied = await copyStorage(source, target, {
    dryRun: dryRun === true,
    ...(as === undefined ? {} : { as }),
  });
  process.stdout.write(json === true ? `${JSON.stringify(copied)}\n` : describe(copied, dryRun === true));
}

function describe({ copied, bytes, present }: Copied, isDry: boolean): string {
  const what = isDry ? 'to copy' : 'copied';
  return `${copied} objects of ${formatBytes(bytes)} ${what}, ${present} were there\n`;
}
