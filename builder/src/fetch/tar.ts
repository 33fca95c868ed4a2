import { LarderError } from '@larder/signing/errors';

/** An entry of a tar archive. */
export interface TarEntry {
  readonly path: string;
  readonly type: 'file' | 'directory' | 'symlink' | 'hardlink';
  readonly executable: boolean;
  /** Where a link points. */
  readonly target: string;
  /** Seconds since 1970. */
  readonly modified: number;
  readonly contents: AsyncIterable<Uint8Array>;
}

const BLOCK = 512;

/** Reads exact numbers of bytes from chunks of any size. */
class ByteReader {
  private readonly iterator: AsyncIterator<Uint8Array>;
  private chunk: Uint8Array = new Uint8Array(0);

  constructor(source: AsyncIterable<Uint8Array>) {
    this.iterator = source[Symbol.asyncIterator]();
  }

  /** Up to `count` bytes, at least one; undefined at the end. */
  async some(count: number): Promise<Uint8Array | undefined> {
    while (this.chunk.length === 0) {
      const next = await this.iterator.next();
      if (next.done === true) return undefined;
      this.chunk = next.value;
    }
    const part = this.chunk.subarray(0, count);
    this.chunk = this.chunk.subarray(part.length);
    return part;
  }

  async exactly(count: number): Promise<Buffer> {
    const parts: Uint8Array[] = [];
    for (let left = count; left > 0; ) {
      const part = await this.some(left);
      if (part === undefined)
        throw new LarderError('tar-malformed', 'the archive ends in the middle of an entry');
      parts.push(part);
      left -= part.length;
    }
    return Buffer.concat(parts);
  }
}

const text = (block: Buffer, start: number, length: number): string => {
  const field = block.subarray(start, start + length);
  const end = field.indexOf(0);
  return field.subarray(0, end < 0 ? length : end).toString('utf8');
};

/** A number in octal, or in base 256 when its first bit is set. */
function number(block: Buffer, start: number, length: number): number {
  if ((block[start]! & 0x80) !== 0) {
    let value = block[start]! & 0x7f;
    for (let i = 1; i < length; i++) value = value * 256 + block[start + i]!;
    return value;
  }
  return Number.parseInt(text(block, start, length).trim() || '0', 8);
}

/** The records of a pax header: `length key=value` lines. */
function parsePax(data: Buffer): Map<string, string> {
  const records = new Map<string, string>();
  for (let at = 0; at < data.length; ) {
    const space = data.indexOf(0x20, at);
    const length = Number(data.subarray(at, space).toString('latin1'));
    if (space < 0 || !(length > 0)) break;
    const record = data.subarray(space + 1, at + length - 1).toString('utf8');
    const equals = record.indexOf('=');
    records.set(record.slice(0, equals), record.slice(equals + 1));
    at += length;
  }
  return records;
}

const types: Readonly<Record<string, TarEntry['type']>> = {
  '0': 'file',
  '\0': 'file',
  '7': 'file',
  '1': 'hardlink',
  '2': 'symlink',
  '5': 'directory',
};

/**
 * Reads a tar archive (ustar, GNU and pax) as a stream. An entry's contents must be read, or left alone, before
 * the next entry is asked for.
 * @throws LarderError `tar-malformed`
 */
export async function* readTar(source: AsyncIterable<Uint8Array>): AsyncGenerator<TarEntry> {
  const reader = new ByteReader(source);
  let longName: string | undefined;
  let longTarget: string | undefined;
  let pax = new Map<string, string>();
  for (;;) {
    const block = await reader.exactly(BLOCK).catch(() => undefined);
    if (block === undefined || block.every((byte) => byte === 0)) return;
    checkSum(block);
    const flag = String.fromCharCode(block[156]!);
    const size = Number(pax.get('size') ?? number(block, 124, 12));
    const padding = (BLOCK - (size % BLOCK)) % BLOCK;
    if ('LKxgV'.includes(flag)) {
      const data = await reader.exactly(size);
      await reader.exactly(padding);
      const plain = data.toString('utf8').replace(/\0.*$/s, '');
      if (flag === 'L') longName = plain;
      else if (flag === 'K') longTarget = plain;
      else if (flag === 'x') pax = parsePax(data);
      continue;
    }
    const prefix = text(block, 257, 5) === 'ustar' && block[263] !== 0x20 ? text(block, 345, 155) : '';
    const short = text(block, 0, 100);
    const type = types[flag];
    const hasData = type === 'file' && size > 0;
    let left = hasData ? size : 0;
    const contents = async function* (): AsyncGenerator<Uint8Array> {
      while (left > 0) {
        const part = await reader.some(left);
        if (part === undefined)
          throw new LarderError('tar-malformed', 'the archive ends in the middle of a file');
        left -= part.length;
        yield part;
      }
    };
    if (type !== undefined) {
      yield {
        path: pax.get('path') ?? longName ?? (prefix === '' ? short : `${prefix}/${short}`),
        type: type === 'file' && short.endsWith('/') ? 'directory' : type,
        executable: (number(block, 100, 8) & 0o100) !== 0,
        target: pax.get('linkpath') ?? longTarget ?? text(block, 157, 100),
        modified: Number(pax.get('mtime') ?? number(block, 136, 12)),
        contents: contents(),
      };
    } else left = size;
    if (left > 0) await reader.exactly(left);
    if (size > 0 && (hasData || type === undefined)) await reader.exactly(padding);
    longName = undefined;
    longTarget = undefined;
    pax = new Map();
  }
}

function checkSum(block: Buffer): void {
  let sum = 0;
  for (let i = 0; i < BLOCK; i++) sum += i >= 148 && i < 156 ? 0x20 : block[i]!;
  if (sum !== number(block, 148, 8)) {
    throw new LarderError(
      'tar-malformed',
      'a header of the archive has a wrong checksum: is it a tar archive?',
    );
  }
}
