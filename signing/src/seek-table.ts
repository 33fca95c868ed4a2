import { LarderError } from './errors.js';

/**
 * The seek table of the Zstandard Seekable Format 0.1.0 (zstd's contrib/seekable_format): a skippable frame behind
 * the data frames that lists them, so that a reader finds the one that holds an offset. Plain zstd readers skip it.
 */

const SKIPPABLE_MAGIC = 0x184d2a5e;
const SEEKABLE_MAGIC = 0x8f92eab1;
const HEADER_SIZE = 8;
const FOOTER_SIZE = 9;
const CHECKSUM_FLAG = 0x80;
const RESERVED_BITS = 0x7c;
const MAX_FRAMES = 0x8000000;

/** One frame: where its bytes are in the file, and which of the content they hold. */
export interface SeekFrame {
  readonly compressedOffset: number;
  readonly compressedSize: number;
  readonly offset: number;
  readonly size: number;
  /** The low 32 bits of the content's XXH64. */
  readonly checksum: number | undefined;
}

export interface SeekTable {
  readonly frames: readonly SeekFrame[];
  /** Bytes of content in all. */
  readonly size: number;
  /** Bytes of frames in all; the table follows them. */
  readonly compressedSize: number;
}

/** A frame's sizes and checksum, as a writer knows them. */
export type SeekEntry = Pick<SeekFrame, 'compressedSize' | 'size' | 'checksum'>;

/** Lays entries out one behind the other. */
export function makeSeekTable(entries: readonly SeekEntry[]): SeekTable {
  const frames: SeekFrame[] = [];
  let compressedOffset = 0;
  let offset = 0;
  for (const entry of entries) {
    frames.push({ compressedOffset, offset, ...entry });
    compressedOffset += entry.compressedSize;
    offset += entry.size;
  }
  return { frames, size: offset, compressedSize: compressedOffset };
}

/** The bytes of the skippable frame. Every entry must have a checksum, or none. */
export function formatSeekTable(entries: readonly SeekEntry[]): Buffer {
  const checksums = entries.length > 0 && entries[0]!.checksum !== undefined;
  const table = Buffer.alloc(HEADER_SIZE + entries.length * entrySize(checksums) + FOOTER_SIZE);
  let at = table.writeUInt32LE(SKIPPABLE_MAGIC);
  at = table.writeUInt32LE(table.length - HEADER_SIZE, at);
  for (const entry of entries) {
    at = table.writeUInt32LE(entry.compressedSize, at);
    at = table.writeUInt32LE(entry.size, at);
    if (checksums) at = table.writeUInt32LE(entry.checksum!, at);
  }
  at = table.writeUInt32LE(entries.length, at);
  at = table.writeUInt8(checksums ? CHECKSUM_FLAG : 0, at);
  table.writeUInt32LE(SEEKABLE_MAGIC, at);
  return table;
}

function entrySize(checksums: boolean): number {
  return checksums ? 12 : 8;
}

/**
 * The size of the whole skippable frame that ends a file with these last bytes (nine are enough); undefined when the
 * file is not seekable. Throws `seek-table-malformed`.
 */
export function seekTableSize(tail: Uint8Array): number | undefined {
  if (tail.length < FOOTER_SIZE) return;
  const footer = Buffer.from(tail.buffer, tail.byteOffset + tail.length - FOOTER_SIZE, FOOTER_SIZE);
  if (footer.readUInt32LE(5) !== SEEKABLE_MAGIC) return;
  const count = footer.readUInt32LE(0);
  const flags = footer[4]!;
  if (count > MAX_FRAMES || (flags & RESERVED_BITS) !== 0) throw malformed('its footer cannot be');
  return HEADER_SIZE + count * entrySize((flags & CHECKSUM_FLAG) !== 0) + FOOTER_SIZE;
}

/**
 * Reads the seek table from a file's last bytes, of which there must be enough (`seekTableSize` tells; 17 and 12 a
 * frame at most). Undefined when the file is not seekable. Throws `seek-table-malformed`.
 */
export function readSeekTable(tail: Uint8Array): SeekTable | undefined {
  const size = seekTableSize(tail);
  if (size === undefined) return;
  if (size > tail.length) throw malformed(`it takes ${size} bytes and only ${tail.length} are there`);
  const table = Buffer.from(tail.buffer, tail.byteOffset + tail.length - size, size);
  if (table.readUInt32LE(0) !== SKIPPABLE_MAGIC || table.readUInt32LE(4) !== size - HEADER_SIZE) {
    throw malformed('its header does not match its footer');
  }
  const count = table.readUInt32LE(size - FOOTER_SIZE);
  const checksums = (table[size - 5]! & CHECKSUM_FLAG) !== 0;
  const step = entrySize(checksums);
  const entries = Array.from({ length: count }, (_, i): SeekEntry => {
    const at = HEADER_SIZE + i * step;
    return {
      compressedSize: table.readUInt32LE(at),
      size: table.readUInt32LE(at + 4),
      checksum: checksums ? table.readUInt32LE(at + 8) : undefined,
    };
  });
  return makeSeekTable(entries);
}

function malformed(detail: string): LarderError<'seek-table-malformed'> {
  return new LarderError('seek-table-malformed', `the file's seek table is malformed: ${detail}`);
}
