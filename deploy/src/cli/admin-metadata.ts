import { once } from 'node:events';
import { type FileHandle, open, rename, rm, stat } from 'node:fs/promises';
import { exportMetadata } from '@larder/cache-server/admin/export-metadata';
import { importMetadata } from '@larder/cache-server/admin/import-metadata';
import type { Command } from 'commander';
import { addPlaceOptions, type ServerPlace, withFoundation } from './admin-place.js';
import { createVerb } from './command.js';

interface ExportOptions extends ServerPlace {
  readonly output?: string;
}

/** `larder admin export`. */
export function createExportCommand(): Command {
  const command = createVerb('export', {
    summary:
      'Write all that the database knows, as of one moment, in lines of JSON that SQLite and PostgreSQL both take back. Signing ' +
      "keys in it are sealed: keep the data directory's seal-key with it. Safe beside a running server.",
    examples: [
      [
        'larder admin export --config /etc/larder.toml | zstd > larder.jsonl.zst',
        'back up what the storage does not have',
      ],
      [
        'larder admin export --config sqlite.toml | larder admin import --config postgresql.toml',
        'move to another database',
      ],
    ],
  });
  return addPlaceOptions(command)
    .option('--output <file>', 'write there, not to standard output')
    .action(runExport);
}

async function runExport({ output, ...place }: ExportOptions): Promise<void> {
  const write = (sink: (text: string) => Promise<void>): Promise<number> =>
    withFoundation(place, (foundation) => exportMetadata(foundation, sink));
  const rows =
    output === undefined
      ? await write(async (text) => {
          if (!process.stdout.write(text)) await once(process.stdout, 'drain');
        })
      : await replaceDump(output, (file) => write((text) => file.writeFile(text)));
  process.stderr.write(`${rows} rows\n`);
}

/** Writes a dump beside the one that is there, and puts it in its place when it is whole and on the disk. */
async function replaceDump<T>(path: string, write: (file: FileHandle) => Promise<T>): Promise<T> {
  const there = await stat(path).catch(() => undefined);
  const isReplaced = there === undefined || there.isFile();
  const temporary = isReplaced ? `${path}.${process.pid}.tmp` : path;
  try {
    await using file = await open(temporary, 'w', 0o600);
    const result = await write(file);
    if (isReplaced) {
      await file.sync();
      await rename(temporary, path);
    }
    return result;
  } catch (error) {
    if (isReplaced) await rm(temporary, { force: true });
    throw error;
  }
}

interface ImportOptions extends ServerPlace {
  readonly dryRun?: true;
}

/** `larder admin import`. */
export function createImportCommand(): Command {
  const command = createVerb('import', {
    summary:
      'Fill an empty database with what larder admin export wrote: all of it, or nothing. The seal key must be the one of the ' +
      'old server.',
    examples: [
      [
        'larder admin import --config postgresql.toml larder.jsonl',
        'into a database no server was started on',
      ],
      ['zstd -dc larder.jsonl.zst | larder admin import --config larder.toml --dry-run', 'check a backup'],
    ],
  });
  return addPlaceOptions(command)
    .argument('[file]', 'what was exported; standard input without it')
    .option('--dry-run', 'read and check all of it, and keep nothing')
    .action(runImport);
}

async function runImport(file: string | undefined, { dryRun, ...place }: ImportOptions): Promise<void> {
  await using opened = file === undefined || file === '-' ? undefined : await open(file);
  const source = opened?.createReadStream({ autoClose: false }) ?? process.stdin;
  const counts = await withFoundation(place, (foundation) =>
    importMetadata(foundation, source, { dryRun: dryRun === true }),
  );
  for (const [table, rows] of counts) process.stdout.write(`${table}: ${rows}\n`);
  if (dryRun === true) process.stdout.write('nothing was written\n');
}
