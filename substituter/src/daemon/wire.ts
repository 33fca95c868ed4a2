import { LarderError } from '@larder/signing/errors';
import { paddingOf } from '@larder/signing/nar-format';

/** The longest string taken from a daemon, in bytes: far beyond any message or path list's element. */
const MAX_STRING_LENGTH = 64 * 1024 * 1024;

const ZEROS = Buffer.alloc(8);

/** Gathers a request in the daemon's encoding: 64-bit little-endian numbers, strings padded to eight bytes. */
export class WireWriter {
  readonly #parts: Uint8Array[] = [];

  number(value: number | bigint | boolean): this {
    const field = Buffer.alloc(8);
    field.writeBigUInt64LE(BigInt(value));
    this.#parts.push(field);
    return this;
  }

  string(text: string): this {
    const bytes = Buffer.from(text);
    this.number(bytes.length);
    this.#parts.push(bytes, ZEROS.subarray(0, paddingOf(bytes.length)));
    return this;
  }

  /** A string whose characters are bytes, as those of derivations. */
  byteString(text: string): this {
    this.number(text.length);
    this.#parts.push(Buffer.from(text, 'latin1'), ZEROS.subarray(0, paddingOf(text.length)));
    return this;
  }

  strings(texts: Iterable<string>): this {
    const list = [...texts];
    this.number(list.length);
    for (const text of list) this.string(text);
    return this;
  }

  finish(): Buffer {
    return Buffer.concat(this.#parts);
  }
}

/** Reads the daemon's encoding from a byte stream, pulling only as much as is asked for. */
export class WireReader {
  readonly #source: AsyncIterator<Uint8Array>;
  #buffer: Buffer = Buffer.alloc(0);

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** @throws `daemon-protocol` for a number beyond 2^53 */
  async number(): Promise<number> {
    const value = (await this.#take(8)).readBigUInt64LE();
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw protocolError(`a number is beyond 2^53: ${value}`);
    return Number(value);
  }

  /** A number whose value does not matter to us, of any size. */
  async skipNumber(): Promise<void> {
    await this.#take(8);
  }

  async boolean(): Promise<boolean> {
    return (await this.number()) !== 0;
  }

  async string(): Promise<string> {
    const length = await this.number();
    if (length > MAX_STRING_LENGTH) throw protocolError(`a string of ${length} bytes`);
    const bytes = await this.#take(length + paddingOf(length));
    return bytes.toString('utf8', 0, length);
  }

  async strings(): Promise<string[]> {
    const texts: string[] = [];
    for (let left = await this.number(); left > 0; left--) texts.push(await this.string());
    return texts;
  }

  /** The bytes that have come, at least one: for what is not framed and tells its own end. */
  async chunk(): Promise<Buffer> {
    if (this.#buffer.length === 0) await this.#pull();
    const chunk = this.#buffer;
    this.#buffer = Buffer.alloc(0);
    return chunk;
  }

  /** So many bytes as they come: for what says its size beforehand. */
  async *bytes(size: number): AsyncGenerator<Uint8Array, void, undefined> {
    for (let left = size; left > 0; ) {
      if (this.#buffer.length === 0) await this.#pull();
      const chunk = this.#buffer.subarray(0, left);
      this.#buffer = this.#buffer.subarray(chunk.length);
      left -= chunk.length;
      yield chunk;
    }
  }

  async #take(size: number): Promise<Buffer> {
    if (this.#buffer.length < size) {
      const parts = [this.#buffer];
      let length = this.#buffer.length;
      while (length < size) {
        this.#buffer = Buffer.alloc(0);
        await this.#pull();
        parts.push(this.#buffer);
        length += this.#buffer.length;
      }
      this.#buffer = Buffer.concat(parts, length);
    }
    const taken = this.#buffer.subarray(0, size);
    this.#buffer = this.#buffer.subarray(size);
    return taken;
  }

  async #pull(): Promise<void> {
    const { done, value } = await this.#source.next();
    if (done === true) {
      throw new LarderError(
        'daemon-disconnected',
        'the Nix daemon closed the connection; its log may say why',
      );
    }
    this.#buffer = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  }
}

export function protocolError(what: string): LarderError<'daemon-protocol'> {
  return new LarderError(
    'daemon-protocol',
    `the Nix daemon does not speak its protocol as expected: ${what}`,
  );
}

/** Daemons colour their messages whatever reads them. */
export function withoutColours(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences start with one
  return text.replace(/\u001b\[[0-9;]*m/g, '');
}
