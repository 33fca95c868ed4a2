import { collectGarbage, findRoots } from '@larder/builder/gc/collect-garbage';
import { LocalStore } from '@larder/substituter/local-store/local-store';
import { openSource } from '@larder/substituter/open-store';
import type { Command } from 'commander';
import { parseAge, removeOldGenerations } from '../profile/old-generations.js';
import { addClientOptions, ClientSession, note } from './client-session.js';
import { createVerb, usageError } from './command.js';
import type { StoreOptions } from './store.js';
import { formatBytes } from './units.js';

interface GcOptions extends StoreOptions {
  readonly dryRun?: boolean;
  readonly maxFreed?: string;
  readonly printRoots?: boolean;
  readonly deleteOld?: boolean;
  readonly deleteOlderThan?: string;
}

export function createCommand(): Command {
  const gc = createVerb('gc', {
    summary:
      'Delete what nothing needs: no profile, no result link, no running process. Others may use the store meanwhile.',
    examples: [
      ['larder gc', 'delete all garbage'],
      ['larder gc --dry-run', 'print what would go'],
      ['larder gc --delete-older-than 30d', 'forget what was left a month ago, and delete it'],
      ['larder gc --max-freed 10G', 'stop once ten gibibytes are free'],
      ['larder gc --print-roots', 'what keeps paths, and where it is'],
    ],
  })
    .option('--store <store>', 'the store', 'auto')
    .option('-d, --delete-old', 'first remove all generations of all profiles but the current ones')
    .option('--delete-older-than <days>', 'first remove generations that were not current any more then: 30d')
    .option('--dry-run', 'print what would be deleted, and delete nothing')
    .option('--max-freed <size>', 'stop once so much is free: bytes, or with K, M, G or T')
    .option('--print-roots', 'print the roots and what they keep, and delete nothing');
  return addClientOptions(gc).action(runGc);
}

async function runGc(options: GcOptions): Promise<void> {
  const maxFreed = options.maxFreed === undefined ? undefined : parseSize(options.maxFreed);
  await using session = await ClientSession.open(options);
  const store = await openSource(options.store, session.context);
  try {
    if (!(store instanceof LocalStore)) throw usageError(`'${options.store}' is not a store on this machine`);
    if (options.printRoots === true) return await printRoots(store);
    await removeGenerations(store, options, session.signal);
    const setting = (name: string, fallback: boolean) =>
      ['true', '1', 'yes'].includes(session.settings.other(name)?.value ?? String(fallback));
    const { deleted, freed } = await collectGarbage(store, {
      keepDerivations: setting('keep-derivations', true),
      keepOutputs: setting('keep-outputs', false),
      dryRun: options.dryRun,
      maxFreed,
      onDelete: (name) => {
        if (options.dryRun === true) process.stdout.write(`${store.storeDir.path}/${name}\n`);
        else process.stderr.write(`deleting '${store.storeDir.path}/${name}'\n`);
      },
      onNote: note,
      signal: session.signal,
    });
    const verb = options.dryRun === true ? 'would be' : 'were';
    process.stderr.write(`${deleted.length} paths ${verb} deleted, ${formatBytes(freed)} ${verb} freed\n`);
  } finally {
    await store.close();
  }
}

async function removeGenerations(store: LocalStore, options: GcOptions, signal: AbortSignal): Promise<void> {
  const { deleteOld, deleteOlderThan, dryRun } = options;
  if (deleteOld !== true && deleteOlderThan === undefined) return;
  await removeOldGenerations({
    stateDir: store.layout.stateDir,
    before: deleteOlderThan === undefined ? undefined : parseAge(deleteOlderThan),
    dryRun,
    onRemove: (profile, number) =>
      process.stderr.write(
        `${dryRun === true ? 'would remove' : 'removing'} generation ${number} of ${profile}\n`,
      ),
    signal,
  });
}

async function printRoots(store: LocalStore): Promise<void> {
  const roots = findRoots(store);
  const valid = await store.queryValidPaths(roots.keys());
  const lines = [...roots].flatMap(([path, places]) =>
    valid.has(path) ? [...places].map((place) => `${place} -> ${store.storeDir.format(path)}\n`) : [],
  );
  process.stdout.write(lines.sort().join(''));
}

function parseSize(text: string): number {
  const match = /^(\d+)([KMGT]?)$/i.exec(text);
  if (match === null) throw usageError(`--max-freed takes a size such as 500M or 10G, not '${text}'`);
  const unit = match[2]!.toUpperCase();
  return Number(match[1]) * (unit === '' ? 1 : 1024 ** ' KMGT'.indexOf(unit));
}
