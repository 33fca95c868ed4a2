import { createWriteStream, linkSync, lstatSync, mkdirSync, symlinkSync, unlinkSync } from 'node:fs';
import { dirname } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { decompress } from '@larder/signing/codec';
import { sniffCompression } from '@larder/signing/compression';
import { LarderError } from '@larder/signing/errors';
import { readTar, type TarMember } from './tar-reader.js';

/**
 * Unpacks a tar archive, packed or not, into a directory. Nothing is written outside of it: names cannot climb,
 * and no member is reached through a link that another one made.
 * @throws `tar-malformed`, `tar-unsafe`
 */
export async function unpackTar(source: AsyncIterable<Uint8Array>, directory: string): Promise<void> {
  for await (const member of readTar(await unpacked(source))) {
    if (member.path === '') continue;
    makeParents(directory, member.path);
    await writeMember(directory, member);
  }
}

async function unpacked(source: AsyncIterable<Uint8Array>): Promise<AsyncIterable<Uint8Array>> {
  const iterator = source[Symbol.asyncIterator]();
  const first = await iterator.next();
  const start = first.done === true ? new Uint8Array() : first.value;
  const all = joined(start, iterator);
  return decompress(all, sniffCompression(start) ?? 'none');
}

async function* joined(start: Uint8Array, rest: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield start;
  yield* { [Symbol.asyncIterator]: () => rest };
}

function makeParents(directory: string, path: string): void {
  const names = dirname(path).split('/');
  let parent = directory;
  for (const name of names) {
    if (name === '.') continue;
    parent += `/${name}`;
    const status = lstatSync(parent, { throwIfNoEntry: false });
    if (status === undefined) mkdirSync(parent);
    else if (!status.isDirectory()) {
      throw new LarderError(
        'tar-unsafe',
        `the tar archive puts '${path}' below something that is no directory`,
      );
    }
  }
}

async function writeMember(directory: string, member: TarMember): Promise<void> {
  const target = `${directory}/${member.path}`;
  const present = lstatSync(target, { throwIfNoEntry: false });
  if (member.type === 'directory') {
    if (present === undefined) mkdirSync(target);
    else if (!present.isDirectory())
      throw new LarderError('tar-unsafe', `the tar archive has '${member.path}' twice`);
    return;
  }
  // The later of two members with one name stays, as with tar itself.
  if (present !== undefined) unlinkSync(target);
  if (member.type === 'symlink') symlinkSync(member.target, target);
  else if (member.type === 'hardlink') {
    makeParents(directory, member.target);
    linkSync(`${directory}/${member.target}`, target);
  } else {
    const file = createWriteStream(target, { flags: 'wx', mode: member.executable ? 0o755 : 0o644 });
    await pipeline(Readable.from(member.contents(), { objectMode: false }), file);
  }
}
