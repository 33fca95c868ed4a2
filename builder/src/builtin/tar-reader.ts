import { LarderError } from '@larder/signing/errors';

const blockSize = 512;

/** A member of a tar archive that a tree can hold. Its contents are asked for before the next member. */
export interface TarMember {
  readonly type: 'file' | 'directory' | 'symlink' | 'hardlink';
  /** Relative, without `.` and `..` and empty parts. */
  readonly path: string;
  readonly target: string;
  readonly executable: boolean;
  readonly size: number;
  readonly contents: () => AsyncGenerator<Uint8Array>;
}

/**
 * Reads a tar archive: ustar, with the extensions of POSIX (pax) and GNU for long names. Devices and such are
 * passed over. Format: POSIX.1-2017, pax, "ustar Interchange Format".
 * @throws `tar-malformed`
 */
export async function* readTar(source: AsyncIterable<Uint8Array>): AsyncGenerator<TarMember> {
  const input = new ByteReader(source);
  let extended = new Map<string, string>();
  for (;;) {
    const header = await input.read(blockSize);
    if (header === undefined || header.every((byte) => byte === 0)) return;
    const size = Number(extended.get('size') ?? parseNumber(header, 124, 12));
    const type = String.fromCharCode(header[156]!);
    if ('xLK'.includes(type)) {
      const record = await input.readPadded(size);
      extended = new Map([...extended, ...parseExtension(type, record)]);
      continue;
    }
    const member = parseMember(header, extended);
    extended = new Map();
    if (type === 'g' || member === undefined) {
      await input.skipPadded(size);
      continue;
    }
    const contents = input.contents(size);
    yield { ...member, size, contents: () => contents };
    for await (const _ of contents); // Whatever the consumer left.
  }
}

function parseMember(header: Buffer, extended: ReadonlyMap<string, string>) {
  const types = {
    '0': 'file',
    '\0': 'file',
    '7': 'file',
    '1': 'hardlink',
    '2': 'symlink',
    '5': 'directory',
  } as const;
  const type = types[String.fromCharCode(header[156]!) as keyof typeof types];
  if (type === undefined) return undefined;
  const prefix = header.toString('latin1', 257, 262) === 'ustar' ? parseString(header, 345, 155) : '';
  const name = parseString(header, 0, 100);
  const full = extended.get('path') ?? (prefix === '' ? name : `${prefix}/${name}`);
  const target = extended.get('linkpath') ?? parseString(header, 157, 100);
  const executable = (parseNumber(header, 100, 8) & 0o100) !== 0;
  // Old archives mark a directory by its name alone.
  const isDirectory = type === 'directory' || (type === 'file' && full.endsWith('/'));
  return {
    type: isDirectory ? ('directory' as const) : type,
    path: cleanPath(full),
    target: type === 'hardlink' ? cleanPath(target) : target,
    executable,
  };
}

function parseExtension(type: string, record: Buffer): [string, string][] {
  if (type === 'L') return [['path', parseString(record, 0, record.length)]];
  if (type === 'K') return [['linkpath', parseString(record, 0, record.length)]];
  const found: [string, string][] = [];
  for (let at = 0; at < record.length; ) {
    const length = Number.parseInt(record.toString('latin1', at, at + 20), 10);
    if (!(length > 0)) break;
    const line = record.toString('utf8', at, at + length - 1);
    const [, key, value] = /^\d+ ([^=]+)=([\s\S]*)$/.exec(line) ?? [];
    if (key !== undefined && value !== undefined) found.push([key, value]);
    at += length;
  }
  return found;
}

function cleanPath(path: string): string {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) throw malformed(`the name '${path}' climbs out of it`);
  return parts.join('/');
}

function parseString(header: Buffer, start: number, length: number): string {
  const end = header.subarray(start, start + length).indexOf(0);
  return header.toString('utf8', start, end < 0 ? start + length : start + end);
}

/** Octal digits, or GNU's binary form for large numbers. */
function parseNumber(header: Buffer, start: number, length: number): number {
  if ((header[start]! & 0x80) !== 0) return Number(header.readBigUInt64BE(start + length - 8));
  const digits = header
    .toString('latin1', start, start + length)
    .replace(/[\0 ]+/g, ' ')
    .trim();
  const value = digits === '' ? 0 : Number.parseInt(digits, 8);
  if (Number.isNaN(value)) throw malformed(`'${digits}' is no number`);
  return value;
}

/** Takes a stream of bytes in pieces of a wanted size. */
class ByteReader {
  readonly #source: AsyncIterator<Uint8Array>;
  #chunk: Buffer = Buffer.alloc(0);

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** Exactly so many bytes, or `undefined` at the end of the stream. */
  async read(size: number): Promise<Buffer | undefined> {
    const parts: Buffer[] = [];
    for (let left = size; left > 0; ) {
      const part = await this.#take(left);
      if (part === undefined) {
        if (parts.length === 0) return undefined;
        throw malformed('it ends inside a member');
      }
      parts.push(part);
      left -= part.length;
    }
    return Buffer.concat(parts);
  }

  async readPadded(size: number): Promise<Buffer> {
    const data = (await this.read(size)) ?? Buffer.alloc(0);
    await this.#skip(padding(size));
    return data;
  }

  async skipPadded(size: number): Promise<void> {
    await this.#skip(size + padding(size));
  }

  async *contents(size: number): AsyncGenerator<Uint8Array> {
    try {
      for (let left = size; left > 0; ) {
        const part = await this.#take(left);
        if (part === undefined) throw malformed('it ends inside a file');
        left -= part.length;
        yield part;
      }
    } finally {
      await this.#skip(padding(size));
    }
  }

  async #skip(size: number): Promise<void> {
    for (let left = size; left > 0; ) {
      const part = await this.#take(left);
      if (part === undefined) return;
      left -= part.length;
    }
  }

  async #take(most: number): Promise<Buffer | undefined> {
    while (this.#chunk.length === 0) {
      const next = await this.#source.next();
      if (next.done === true) return undefined;
      this.#chunk = Buffer.from(next.value.buffer, next.value.byteOffset, next.value.byteLength);
    }
    const part = this.#chunk.subarray(0, most);
    this.#chunk = this.#chunk.subarray(part.length);
    return part;
  }
}

function padding(size: number): number {
  return (blockSize - (size % blockSize)) % blockSize;
}

function malformed(why: string): LarderError {
  return new LarderError('tar-malformed', `the tar archive is broken: ${why}`);
}
