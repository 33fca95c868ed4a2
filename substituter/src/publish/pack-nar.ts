import { createHash, randomUUID } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { compress } from '@larder/signing/codec';
import type { WritableCompression } from '@larder/signing/compression';
import { Hash } from '@larder/signing/hash';
import { formatNarListing, NarLister } from '@larder/signing/nar-listing';
import type { FileContents } from '../binary-cache/cache-files.js';
import type { FoundPath } from '../source-set.js';
import { watchNar } from './watch-nar.js';

export interface PackOptions {
  readonly compression: WritableCompression;
  readonly level?: number;
  /** Make a listing too. */
  readonly list: boolean;
  /** Where the packed NAR is kept until it is disposed of; the system's temporary directory by default. */
  readonly directory?: string;
  readonly onBytes: (count: number) => void;
  readonly signal: AbortSignal;
}

/** A NAR that was compressed into a temporary file, since its name in a cache is known only afterwards. */
export interface PackedNar extends AsyncDisposable {
  readonly fileHash: Hash;
  readonly contents: FileContents;
  /** The `.ls` file's text. */
  readonly listing: string | undefined;
}

/**
 * Compresses a path's NAR into a temporary file, checking it on the way against the path's info.
 * @throws `nar-mismatch`
 */
export async function packNar(found: FoundPath, options: PackOptions): Promise<PackedNar> {
  const directory = options.directory ?? tmpdir();
  const file = join(directory, `.larder-${process.pid}-${randomUUID()}.nar`);
  await mkdir(directory, { recursive: true });
  const remove = () => rm(file, { force: true });
  try {
    const lister = options.list ? new NarLister() : undefined;
    const fileHash = createHash('sha256');
    let size = 0;
    const measure = async function* (source: AsyncIterable<Uint8Array>) {
      for await (const chunk of source) {
        fileHash.update(chunk);
        size += chunk.length;
        yield chunk;
      }
    };
    const { compression, level, onBytes, signal } = options;
    const nar = watchNar(found, { visitor: lister, onBytes, signal });
    const packed = compress(nar, compression, { level, signal });
    await pipeline(measure(packed), createWriteStream(file, { flags: 'wx' }), { signal });
    const contents = { size, path: file, open: () => createReadStream(file) };
    return {
      fileHash: new Hash('sha256', fileHash.digest()),
      contents,
      listing: lister === undefined ? undefined : formatNarListing(lister.listing()),
      [Symbol.asyncDispose]: remove,
    };
  } catch (error) {
    await remove();
    throw error;
  }
}
