import { checkDictionary } from './codec-dictionary.js';
import { computeCrc32, LzmaNativeCodec } from './codec-lzma.js';
import { codecMalformed, codecTruncated, type StepCodec } from './codec-step.js';

const HEADER_SIZE = 6;
const TRAILER_SIZE = 20;
/** What .lzma's header says of a lzip member: lc 3, lp 0, pb 2, and a size that only the end marker tells. */
const PROPERTIES = 0x5d;
const UNKNOWN_SIZE = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];

/**
 * Reads .lz files of any number of members, by showing liblzma each member's body as the .lzma it is but for
 * the header, and checking the trailer here. Format: the lzip manual, "File format".
 */
export class LzipDecoder implements StepCodec {
  #body: LzmaNativeCodec | undefined;
  /** A header or trailer so far, while no body is open. */
  #pending = Buffer.alloc(0);
  #expectTrailer = false;
  #crc = 0;
  #size = 0;
  #compressedSize = 0;
  #members = 0;

  *write(input: Uint8Array): Generator<Uint8Array> {
    let rest = input;
    while (rest.length > 0) {
      rest = this.#body === undefined ? this.#readEdge(rest) : yield* this.#readBody(this.#body, rest);
    }
  }

  /** Gathers a header or trailer; gives what lies behind it. */
  #readEdge(input: Uint8Array): Uint8Array {
    const wanted = (this.#expectTrailer ? TRAILER_SIZE : HEADER_SIZE) - this.#pending.length;
    this.#pending = Buffer.concat([this.#pending, input.subarray(0, wanted)]);
    if (input.length < wanted) return input.subarray(input.length);
    if (this.#expectTrailer) this.#checkTrailer(this.#pending);
    else this.#openMember(this.#pending);
    this.#pending = Buffer.alloc(0);
    return input.subarray(wanted);
  }

  #openMember(header: Buffer): void {
    if (header.toString('latin1', 0, 4) !== 'LZIP') {
      const what = this.#members === 0 ? 'it does not begin as lzip does' : 'something else follows its end';
      throw codecMalformed('lzip', what);
    }
    if (header[4] !== 1) throw codecMalformed('lzip', `version ${header[4]} is not known`);
    const code = header[5]!;
    const base = 2 ** (code & 0x1f);
    const dictionarySize = base - (base / 16) * (code >> 5);
    if (dictionarySize < 4096 || dictionarySize > 2 ** 29)
      throw codecMalformed('lzip', 'bad dictionary size');
    checkDictionary('lzip', dictionarySize);
    const alone = Buffer.from([PROPERTIES, 0, 0, 0, 0, ...UNKNOWN_SIZE]);
    alone.writeUInt32LE(dictionarySize, 1);
    this.#body = LzmaNativeCodec.aloneDecoder('lzip');
    // The header yields nothing.
    for (const _ of this.#body.write(alone));
    this.#members += 1;
    this.#crc = this.#size = this.#compressedSize = 0;
  }

  *#readBody(body: LzmaNativeCodec, input: Uint8Array): Generator<Uint8Array, Uint8Array> {
    for (const output of body.write(input)) {
      this.#crc = computeCrc32(output, this.#crc);
      this.#size += output.length;
      yield output;
    }
    const surplus = body.surplus;
    this.#compressedSize += input.length - (surplus ?? 0);
    if (surplus === undefined) return input.subarray(input.length);
    body.close();
    this.#body = undefined;
    this.#expectTrailer = true;
    return input.subarray(input.length - surplus);
  }

  #checkTrailer(trailer: Buffer): void {
    this.#expectTrailer = false;
    const memberSize = this.#compressedSize + HEADER_SIZE + TRAILER_SIZE;
    const matches =
      trailer.readUInt32LE(0) === this.#crc >>> 0 &&
      trailer.readBigUInt64LE(4) === BigInt(this.#size) &&
      trailer.readBigUInt64LE(12) === BigInt(memberSize);
    if (!matches) throw codecMalformed('lzip', "a member's checksum or size is wrong: the data was damaged");
  }

  end(): readonly Uint8Array[] {
    const between = this.#body === undefined && !this.#expectTrailer && this.#pending.length === 0;
    if (!between || this.#members === 0) throw codecTruncated('lzip');
    return [];
  }

  close(): void {
    this.#body?.close();
    this.#body = undefined;
  }
}
