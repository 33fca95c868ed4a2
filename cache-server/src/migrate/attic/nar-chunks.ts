import { decompress } from '@larder/signing/codec';
import { type Compression, isCompression } from '@larder/signing/compression';
import { Hasher, parseHash } from '@larder/signing/hash';
import type { MigratingNar, MissingNar } from '../migration-source.js';
import { isPathsOwn } from '../refusal.js';
import type { AtticChunk, AtticPiece } from './attic-database.js';
import { readAhead } from './read-ahead.js';
import { type ChunkFiles, describeRemoteFile, parseRemoteFile, type RemoteFile } from './remote-file.js';

/** A chunk that can be read. */
interface Chunk {
  readonly row: AtticChunk;
  readonly file: RemoteFile;
  readonly compression: Compression;
}

export interface NarPieces {
  readonly pieces: readonly AtticPiece[];
  /** How many there should be. */
  readonly count: number;
  /** Bytes, uncompressed. */
  readonly narSize: number;
}

/**
 * A NAR out of the chunks it was cut into.
 * @returns why it cannot be put together, as far as the database tells
 */
export function assembleNar(
  { pieces, count, narSize }: NarPieces,
  files: ChunkFiles,
): MigratingNar | MissingNar {
  if (pieces.length !== count)
    return { why: `its NAR is incomplete: attic's database names ${pieces.length} of ${count} chunks` };
  const chunks: Chunk[] = [];
  for (const [index, row] of pieces.entries()) {
    const which = `chunk ${index + 1} of ${count}`;
    if (row === undefined) return { why: `its NAR is incomplete: attic has lost ${which}` };
    const file = parseRemoteFile(row.remote_file);
    if (file === undefined) return { why: `${which} of its NAR is at an unknown place: ${row.remote_file}` };
    const { compression } = row;
    if (!isCompression(compression)) return { why: `${which} of its NAR is compressed by '${compression}'` };
    chunks.push({ row, file, compression });
  }
  const size = chunks.reduce((sum, { row }) => sum + row.chunk_size, 0);
  if (size !== narSize) return { why: `the chunks of its NAR have ${size} bytes together, not ${narSize}` };
  return narOf(chunks, files);
}

/** Compressions whose tools read pieces that are put one behind the other as one. */
const JOINED: ReadonlySet<Compression> = new Set(['none', 'zstd', 'xz']);

function narOf(chunks: readonly Chunk[], files: ChunkFiles): MigratingNar {
  const compression = chunks[0]?.compression ?? 'none';
  const explain = () => findDamage(chunks, files);
  // What is of one kind is unpacked where it is hashed, in a worker; br has no such joints, and Node unpacks it beside us.
  if (
    chunks.length === 1 ||
    (JOINED.has(compression) && chunks.every((each) => each.compression === compression))
  )
    return { compression, open: () => readAhead(chunks.map((chunk) => stored(chunk, files))), explain };
  return {
    compression: 'none',
    open: () => readAhead(chunks.map((chunk) => unpacked(chunk, files))),
    explain,
  };
}

function stored({ row, file }: Chunk, files: ChunkFiles) {
  return { size: row.file_size ?? undefined, open: () => files.open(file) };
}

function unpacked({ row, file, compression }: Chunk, files: ChunkFiles) {
  const size = row.chunk_size;
  return { size, open: () => decompress(files.open(file), compression, { maxSize: size }) };
}

/** The first chunk that is not what the database says, and what is wrong with it. */
async function findDamage(chunks: readonly Chunk[], files: ChunkFiles): Promise<string | undefined> {
  for (const [index, chunk] of chunks.entries()) {
    const fault = await findFault(chunk, files);
    const which = `chunk ${index + 1} of ${chunks.length} (${describeRemoteFile(chunk.file)})`;
    if (fault !== undefined) return `${which} of its NAR ${fault}`;
  }
  return undefined;
}

async function findFault({ row, file, compression }: Chunk, files: ChunkFiles): Promise<string | undefined> {
  const hasher = new Hasher('sha256');
  const wanted = parseHash(row.chunk_hash, 'sha256');
  try {
    for await (const bytes of decompress(files.open(file), compression, {
      maxSize: row.chunk_size,
      lend: true,
    }))
      hasher.update(bytes);
  } catch (error) {
    if (!isPathsOwn(error)) throw error;
    return error.code === 'cache-file-missing'
      ? `is missing: ${error.message}`
      : `is damaged: ${error.message}`;
  }
  const { size } = hasher;
  if (size !== row.chunk_size) return `is damaged: it has ${size} bytes, not ${row.chunk_size}`;
  const actual = hasher.digest();
  return actual.equals(wanted)
    ? undefined
    : `is damaged: it has the hash ${actual.toString()}, not ${wanted.toString()}`;
}
