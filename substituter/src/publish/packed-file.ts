import { createHash, randomUUID } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { Hash } from '@larder/signing/hash';
import type { FileContents } from '../binary-cache/cache-files.js';
import type { PackedSource } from '../store.js';

/** A NAR that was packed into a temporary file, since its name in a cache is known only afterwards. */
export interface PackedFile extends AsyncDisposable {
  readonly fileHash: Hash;
  readonly contents: FileContents;
}

/** Writes a packed NAR to a temporary file in `directory`, hashing it; disposing of it removes the file. */
export async function writePackedFile(
  { bytes }: PackedSource,
  { directory = tmpdir(), signal }: { readonly directory?: string; readonly signal: AbortSignal },
): Promise<PackedFile> {
  const file = join(directory, `.larder-${process.pid}-${randomUUID()}.nar`);
  const hash = createHash('sha256');
  let size = 0;
  const measure = async function* (source: AsyncIterable<Uint8Array>) {
    for await (const chunk of source) {
      hash.update(chunk);
      size += chunk.length;
      yield chunk;
    }
  };
  await mkdir(directory, { recursive: true });
  const remove = () => rm(file, { force: true });
  try {
    await pipeline(bytes, measure, createWriteStream(file, { flags: 'wx' }), { signal });
  } catch (error) {
    await remove();
    throw error;
  }
  return {
    fileHash: new Hash('sha256', hash.digest()),
    contents: { size, path: file, open: () => createReadStream(file) },
    [Symbol.asyncDispose]: remove,
  };
}
