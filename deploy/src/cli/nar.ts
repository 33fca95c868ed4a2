import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { LarderError } from '@larder/signing/errors';
import { fromByteString, toByteString } from '@larder/signing/nar-format';
import { formatNarListing, type NarListing, readNarListing } from '@larder/signing/nar-listing';
import { readNar } from '@larder/signing/nar-reader';
import { restoreNar } from '@larder/signing/nar-restore';
import { writeNar } from '@larder/signing/nar-writer';
import type { Command } from 'commander';
import { openArchive } from './archive.js';
import { createVerb } from './command.js';

export function createCommand(): Command {
  const nar = createVerb('nar', {
    summary: "Write, restore and look into Nix archives, packed or not. '-' is standard input.",
    examples: [
      ['larder nar dump ./tree > tree.nar', 'write the archive of a tree'],
      ['larder nar ls -R tree.nar', 'list what is in an archive'],
    ],
  });
  for (const each of [dump(), restore(), ls(), cat()]) nar.addCommand(each);
  return nar;
}

function dump(): Command {
  return createVerb('dump', {
    summary: 'Write the archive of a file or tree to standard output.',
    examples: [['larder nar dump ./tree > tree.nar', 'byte for byte what nix-store --dump writes']],
  })
    .argument('<path>', 'what to archive')
    .action(async (path: string) => {
      await pipeline(Readable.from(writeNar(path), { objectMode: false }), process.stdout, { end: false });
    });
}

function restore(): Command {
  return createVerb('restore', {
    summary: 'Restore an archive from standard input to a path that does not exist.',
    examples: [['larder nar restore ./copy < tree.nar', 'make ./copy']],
  })
    .argument('<path>', 'where to')
    .action(async (path: string) => restoreNar(openArchive('-'), path));
}

function ls(): Command {
  return createVerb('ls', {
    summary: 'List a directory or file in an archive.',
    examples: [['larder nar ls -lR tree.nar.zst /bin', 'all below /bin, with types and sizes']],
  })
    .argument('<archive>', 'the archive')
    .argument('[path]', 'what to list', '/')
    .option('-R, --recursive', 'also what is in directories below')
    .option('-l, --long', 'with type and size')
    .option('--json', 'as the JSON of a .ls file')
    .action(async (archive: string, path: string, options: ListOptions) => {
      const node = find(await readNarListing(openArchive(archive)), path, archive);
      if (options.json) process.stdout.write(`${formatNarListing(node)}\n`);
      else
        for (const line of list(node, path === '/' ? '' : path, options)) process.stdout.write(`${line}\n`);
    });
}

interface ListOptions {
  readonly recursive?: true;
  readonly long?: true;
  readonly json?: true;
}

function* list(node: NarListing, path: string, options: ListOptions): Generator<string> {
  if (node.type !== 'directory') {
    yield line(node, path, options);
    return;
  }
  for (const [name, entry] of Object.entries(node.entries)) {
    yield line(entry, `${path}/${name}`, options);
    if (entry.type === 'directory' && options.recursive) yield* list(entry, `${path}/${name}`, options);
  }
}

function line(node: NarListing, path: string, { long }: ListOptions): string {
  const shown = path === '' ? '/' : path;
  if (!long) return shown;
  switch (node.type) {
    case 'regular':
      return `${node.executable ? '-r-xr-xr-x' : '-r--r--r--'} ${node.size.toString().padStart(12)} ${shown}`;
    case 'directory':
      return `dr-xr-xr-x ${'0'.padStart(12)} ${shown}`;
    case 'symlink':
      return `lrwxrwxrwx ${'0'.padStart(12)} ${shown} -> ${node.target}`;
  }
}

function find(root: NarListing, path: string, archive: string): NarListing {
  let node: NarListing | undefined = root;
  for (const name of path.split('/').filter((part) => part !== '')) {
    node = node?.type === 'directory' ? node.entries[name] : undefined;
  }
  if (node === undefined) throw absent(path, archive);
  return node;
}

function cat(): Command {
  return createVerb('cat', {
    summary: 'Print a file in an archive.',
    examples: [['larder nar cat tree.nar /etc/motd', 'its contents']],
  })
    .argument('<archive>', 'the archive')
    .argument('<path>', 'the file in it')
    .action(async (archive: string, path: string) => {
      await pipeline(Readable.from(contentsOf(archive, path), { objectMode: false }), process.stdout, {
        end: false,
      });
    });
}

/** Contents of one file, passed on as they come; the rest of the archive is still checked. */
async function* contentsOf(archive: string, path: string): AsyncGenerator<Uint8Array> {
  const wanted = toByteString(
    `/${path
      .split('/')
      .filter((part) => part !== '')
      .join('/')}`,
  );
  const directories: string[] = [];
  const full = (name: string): string =>
    directories.length === 0 ? '/' : [...directories.slice(1), name].map((each) => `/${each}`).join('');
  let inside = false;
  let found = false;
  for await (const event of readNar(openArchive(archive))) {
    if (event.type === 'directory') directories.push(event.name);
    else if (event.type === 'leave') directories.pop();
    else if (event.type === 'file') {
      inside = full(event.name) === wanted;
      found ||= inside;
    } else if (event.type === 'symlink' && full(event.name) === wanted) {
      throw new LarderError(
        'nar-not-a-file',
        `${path} in ${archive} is a symbolic link to ${fromByteString(event.target)}`,
      );
    } else if (event.type === 'contents' && inside) yield event.chunk;
  }
  if (!found) throw absent(path, archive);
}

function absent(path: string, archive: string): LarderError {
  return new LarderError(
    'nar-no-such-file',
    `${archive} has no file ${path}; 'larder nar ls -R' lists what it has`,
  );
}
