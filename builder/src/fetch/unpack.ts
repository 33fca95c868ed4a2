import {
  chmodSync,
  closeSync,
  createReadStream,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  symlinkSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { decompress } from '@larder/signing/codec';
import { sniffCompression } from '@larder/signing/compression';
import { LarderError } from '@larder/signing/errors';
import { readTar } from './tar.js';

/** The parts of an archive path, checked to stay inside; empty for the root itself. */
function safeParts(path: string): string[] {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..') || path.includes('\0')) {
    throw new LarderError('tar-malformed', `the archive has an entry '${path}' outside of itself`);
  }
  return parts;
}

/** Makes a directory and those above it below `root`, refusing to go through a symlink. */
function makeDirectory(root: string, parts: readonly string[]): string {
  let current = root;
  for (const part of parts) {
    current = join(current, part);
    const stat = lstatSync(current, { throwIfNoEntry: false });
    if (stat === undefined) mkdirSync(current);
    else if (!stat.isDirectory()) {
      throw new LarderError(
        'tar-malformed',
        `the archive puts an entry below '${current}', which is no directory`,
      );
    }
  }
  return current;
}

async function writeContents(file: string, contents: AsyncIterable<Uint8Array>): Promise<void> {
  const descriptor = openSync(file, 'wx', 0o644);
  try {
    for await (const chunk of contents) writeSync(descriptor, chunk);
  } finally {
    closeSync(descriptor);
  }
}

/**
 * Unpacks a tar archive below `directory`, which exists and is empty. Gives the newest modification time in it.
 * Nothing is written outside, whatever the archive says.
 * @throws LarderError `tar-malformed`
 */
export async function unpackTar(source: AsyncIterable<Uint8Array>, directory: string): Promise<number> {
  let newest = 0;
  for await (const entry of readTar(source)) {
    const parts = safeParts(entry.path);
    if (parts.length === 0) continue;
    newest = Math.max(newest, Math.floor(entry.modified));
    if (entry.type === 'directory') {
      makeDirectory(directory, parts);
      continue;
    }
    const place = join(makeDirectory(directory, parts.slice(0, -1)), parts.at(-1)!);
    if (entry.type === 'symlink') symlinkSync(entry.target, place);
    else if (entry.type === 'hardlink') {
      const target = safeParts(entry.target);
      linkSync(join(makeDirectory(directory, target.slice(0, -1)), target.at(-1)!), place);
    } else {
      await writeContents(place, entry.contents);
      chmodSync(place, entry.executable ? 0o755 : 0o644);
    }
  }
  return newest;
}

/**
 * Unpacks a tar archive, compressed or not, to a directory that it makes. Gives what it holds: a single file or
 * directory, or all of it.
 */
export async function unpackArchive(file: string, directory: string): Promise<string> {
  mkdirSync(directory);
  const head = Buffer.alloc(32);
  const descriptor = openSync(file, 'r');
  readSync(descriptor, head);
  closeSync(descriptor);
  await unpackTar(decompress(createReadStream(file), sniffCompression(head) ?? 'none'), directory);
  const [only, ...others] = readdirSync(directory);
  return only !== undefined && others.length === 0 ? join(directory, only) : directory;
}

/** The single directory that an unpacked archive is in. */
export function singleDirectory(directory: string): string {
  const entries = readdirSync(directory);
  const [only] = entries;
  if (entries.length !== 1 || only === undefined || !lstatSync(join(directory, only)).isDirectory()) {
    throw new LarderError('tarball-malformed', 'tarball contains an unexpected number of top-level files');
  }
  return join(directory, only);
}
