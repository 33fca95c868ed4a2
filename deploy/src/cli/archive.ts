import { createReadStream } from 'node:fs';
import { decompress } from '@larder/signing/codec';
import { sniffCompression } from '@larder/signing/compression';

/** Opens an archive, `-` for standard input, unpacking what its first bytes show it to be packed with. */
export async function* openArchive(archive: string): AsyncGenerator<Uint8Array, void, undefined> {
  const source = archive === '-' ? process.stdin : createReadStream(archive, { highWaterMark: 256 * 1024 });
  const chunks: AsyncIterator<Uint8Array> = source[Symbol.asyncIterator]();
  const first = await chunks.next();
  if (first.done === true) return;
  yield* decompress(prepend(first.value, chunks), sniffCompression(first.value) ?? 'none');
}

async function* prepend(first: Uint8Array, rest: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield first;
  yield* { [Symbol.asyncIterator]: () => rest };
}
