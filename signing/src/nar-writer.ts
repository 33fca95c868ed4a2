import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
} from 'node:fs';
import { LarderError } from './errors.js';
import {
  type ByteString,
  CASE_HACK_SUFFIX,
  entryNameFault,
  fromByteString,
  NAR_MAGIC,
  paddingOf,
  toByteString,
  toFsPath,
} from './nar-format.js';

/** Size of the chunks a writer yields: large enough that their number does not matter. */
const CHUNK_SIZE = 256 * 1024;
/** More than stands before or after the contents of a NAR that is one file. */
const AROUND_CONTENTS_SIZE = 128;

export interface WriteNarOptions {
  readonly signal?: AbortSignal;
  /** Which entries go in, by their full path; all do when it is absent. Never asked about the root. */
  readonly filter?: (path: string) => boolean;
  /** Whether names end in what Nix's setting `use-case-hack` gave them, which is not theirs. */
  readonly caseHack?: boolean;
}

/**
 * Writes the NAR of a file, directory or symbolic link on disk, in Nix's canonical order. Bytes come in chunks that
 * are the caller's to keep; file contents are read with synchronous calls, a chunk at a time.
 * @throws `nar-unsupported-file` for devices, sockets and pipes; `file-changed` when a file changes size while read.
 */
export async function* writeNar(
  path: string,
  options: WriteNarOptions = {},
): AsyncGenerator<Uint8Array, void, undefined> {
  for (const chunk of dumpNar(path, options)) {
    options.signal?.throwIfAborted();
    yield chunk;
  }
}

/** The same as {@link writeNar}, synchronously: for worker threads. */
export function* dumpNar(
  path: string,
  options: WriteNarOptions = {},
): Generator<Uint8Array, void, undefined> {
  const buffer = new ChunkBuffer();
  buffer.string(NAR_MAGIC);
  yield* dumpNode(toByteString(path), buffer, options);
  yield buffer.take();
}

/** The NAR of a single non-executable file with these contents. */
export function* narOfContents(contents: Uint8Array): Generator<Uint8Array, void, undefined> {
  const buffer = new ChunkBuffer(AROUND_CONTENTS_SIZE);
  for (const word of [NAR_MAGIC, '(', 'type', 'regular', 'contents']) buffer.string(word);
  buffer.size(contents.length);
  yield buffer.take();
  yield contents;
  buffer.zeros(paddingOf(contents.length));
  buffer.string(')');
  yield buffer.take();
}

type Chunks = Generator<Uint8Array, void, undefined>;

function* dumpNode(path: ByteString, buffer: ChunkBuffer, options: WriteNarOptions): Chunks {
  const file = toFsPath(path);
  const stat = lstatSync(file);
  buffer.string('(');
  buffer.string('type');
  if (stat.isFile()) yield* dumpFile(path, buffer);
  else if (stat.isDirectory()) yield* dumpDirectory(path, buffer, options);
  else if (stat.isSymbolicLink()) {
    buffer.string('symlink');
    buffer.string('target');
    buffer.string(readlinkSync(file, 'latin1'));
  } else {
    throw new LarderError(
      'nar-unsupported-file',
      `${fromByteString(path)} is neither a file, a directory nor a symbolic link; an archive cannot hold it`,
      { fields: { path: fromByteString(path) } },
    );
  }
  buffer.string(')');
  if (buffer.isFull) yield buffer.take();
}

function* dumpDirectory(path: ByteString, buffer: ChunkBuffer, options: WriteNarOptions): Chunks {
  buffer.string('directory');
  // Byte strings sort as bytes do, which is Nix's order.
  for (const [name, onDisk] of listEntries(path, options)) {
    const child = `${path}/${onDisk}`;
    if (options.filter !== undefined && !options.filter(fromByteString(child))) continue;
    const fault = entryNameFault(name);
    if (fault !== undefined) {
      throw new LarderError(
        'nar-unsupported-file',
        `${fromByteString(child)} cannot go into an archive: ${fault}`,
      );
    }
    for (const word of ['entry', '(', 'name', name, 'node']) buffer.string(word);
    yield* dumpNode(child, buffer, options);
    buffer.string(')');
  }
}

/** The entries of a directory, sorted: the name in the archive, and the one on disk. */
function listEntries(path: ByteString, { caseHack }: WriteNarOptions): (readonly [ByteString, ByteString])[] {
  const names = readdirSync(toFsPath(path), 'latin1');
  if (caseHack !== true) return names.sort().map((name) => [name, name] as const);
  const entries = new Map<ByteString, ByteString>();
  for (const onDisk of names) {
    const suffix = onDisk.indexOf(CASE_HACK_SUFFIX);
    const name = suffix < 0 ? onDisk : onDisk.slice(0, suffix);
    const other = entries.get(name);
    if (other !== undefined) {
      throw new LarderError(
        'nar-unsupported-file',
        `file name collision in between '${fromByteString(`${path}/${other}`)}' and '${fromByteString(`${path}/${onDisk}`)}'`,
      );
    }
    entries.set(name, onDisk);
  }
  return [...entries].sort(([a], [b]) => (a < b ? -1 : 1));
}

function* dumpFile(path: ByteString, buffer: ChunkBuffer): Chunks {
  const file = openSync(toFsPath(path), constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const stat = fstatSync(file);
    buffer.string('regular');
    if ((stat.mode & 0o100) !== 0) {
      buffer.string('executable');
      buffer.string('');
    }
    buffer.string('contents');
    buffer.size(stat.size);
    for (let left = stat.size; left > 0; ) {
      const count = readSync(file, buffer.space(), 0, Math.min(left, buffer.space().length), null);
      if (count === 0) throw changed(path, stat.size, stat.size - left);
      buffer.advance(count);
      left -= count;
      if (buffer.isFull) yield buffer.take();
    }
    buffer.zeros(paddingOf(stat.size));
  } finally {
    closeSync(file);
  }
}

function changed(path: ByteString, expected: number, actual: number): LarderError {
  return new LarderError(
    'file-changed',
    `${fromByteString(path)} shrank from ${expected} to ${actual} bytes while it was read; try again when nothing writes to it`,
    { fields: { path: fromByteString(path) } },
  );
}

/** Gathers tokens and contents into chunks of one size. */
class ChunkBuffer {
  readonly #size: number;
  /** Made when something is written: there are many writers of which the last chunk is never used. */
  #chunk: Buffer = NOTHING;
  #length = 0;
  #overflow: Uint8Array[] = [];

  constructor(size = CHUNK_SIZE) {
    this.#size = size;
  }

  /** Leaves room for the tokens of a node, so that they need no second chunk as a rule. */
  get isFull(): boolean {
    return this.#length > this.#size - 1024 || this.#overflow.length > 0;
  }

  string(bytes: ByteString): void {
    this.#makeRoom(8 + bytes.length + paddingOf(bytes.length));
    this.size(bytes.length);
    this.#chunk.write(bytes, this.#length, 'latin1');
    this.#length += bytes.length;
    this.zeros(paddingOf(bytes.length));
  }

  size(value: number): void {
    this.#makeRoom(8);
    this.#chunk.writeUInt32LE(value >>> 0, this.#length);
    this.#chunk.writeUInt32LE(Math.floor(value / 0x1_0000_0000), this.#length + 4);
    this.#length += 8;
  }

  zeros(count: number): void {
    this.#makeRoom(count);
    this.#chunk.fill(0, this.#length, this.#length + count);
    this.#length += count;
  }

  /** Where contents can be read into; never empty right after `take`. */
  space(): Buffer {
    this.#makeRoom(1);
    return this.#chunk.subarray(this.#length);
  }

  advance(count: number): void {
    this.#length += count;
  }

  /** All that was gathered, as one chunk as a rule. */
  take(): Uint8Array {
    const last = this.#chunk.subarray(0, this.#length);
    const all = this.#overflow.length === 0 ? last : Buffer.concat([...this.#overflow, last]);
    this.#overflow = [];
    this.#chunk = NOTHING;
    this.#length = 0;
    return all;
  }

  #makeRoom(count: number): void {
    if (this.#length + count <= this.#chunk.length) return;
    if (this.#length > 0) this.#overflow.push(this.#chunk.subarray(0, this.#length));
    this.#chunk = Buffer.allocUnsafeSlow(this.#size);
    this.#length = 0;
  }
}

const NOTHING = Buffer.alloc(0);
