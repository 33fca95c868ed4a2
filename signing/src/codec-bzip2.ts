import { BitReader, OutOfBits } from './codec-bzip2-bits.js';
import { BadBlock, type Bzip2Block, readBzip2Block } from './codec-bzip2-block.js';
import { codecMalformed, codecTruncated, OUTPUT_SIZE, type StepCodec } from './codec-step.js';

const BLOCK_UNIT = 100_000;
/** A block's compressed size at worst: 900,001 symbols of 20 bits each, and its tables. */
const MAX_COMPRESSED_BLOCK = 2_400_000;
const BLOCK_MAGIC = [0x314159, 0x265359] as const;
const END_MAGIC = [0x177245, 0x385090] as const;

const crcTable = new Int32Array(256);

/** bzip2's CRC-32: polynomial 0x04c11db7, most significant bit first. */
function fillCrcTable(): void {
  for (let i = 0; i < 256; i++) {
    let crc = i << 24;
    for (let bit = 0; bit < 8; bit++) crc = crc & 0x80000000 ? (crc << 1) ^ 0x04c11db7 : crc << 1;
    crcTable[i] = crc;
  }
}

/**
 * Reads .bz2 files, of any number of streams, checking every checksum. Written here because no maintained
 * package on npm decodes bzip2 in bounded memory and tells a truncated stream from a whole one.
 * A block is decoded once its worst-case compressed size (2.4 MB) or the end of the input has come.
 */
export class Bzip2Decoder implements StepCodec {
  readonly #bits = new BitReader();
  readonly #output = new Uint8Array(OUTPUT_SIZE);
  #waiting: Uint8Array[] = [];
  #waitingSize = 0;
  #pointers = new Int32Array(0);
  #inStream = false;
  #streams = 0;
  #streamCrc = 0;

  constructor() {
    if (crcTable[1] === 0) fillCrcTable();
  }

  *write(input: Uint8Array): Generator<Uint8Array> {
    // A copy: the input is the caller's to reuse.
    this.#waiting.push(Uint8Array.from(input));
    this.#waitingSize += input.length;
    if (this.#waitingSize >= MAX_COMPRESSED_BLOCK) this.#gather();
    while (this.#bits.available >= MAX_COMPRESSED_BLOCK) yield* this.#guarded();
  }

  *end(): Generator<Uint8Array> {
    this.#gather();
    while (this.#inStream || !this.#bits.isEmpty) yield* this.#guarded();
    if (this.#streams === 0) throw codecTruncated('bzip2');
  }

  close(): void {
    this.#pointers = new Int32Array(0);
  }

  #gather(): void {
    this.#bits.append(Buffer.concat(this.#waiting));
    this.#waiting = [];
    this.#waitingSize = 0;
  }

  *#guarded(): Generator<Uint8Array> {
    try {
      yield* this.#readNext();
    } catch (error) {
      if (error instanceof OutOfBits) throw codecTruncated('bzip2');
      if (error instanceof BadBlock) throw codecMalformed('bzip2', error.message, error);
      throw error;
    }
  }

  /** One stream header, block or stream end. */
  *#readNext(): Generator<Uint8Array> {
    const bits = this.#bits;
    if (!this.#inStream) return this.#openStream();
    const high = bits.read(24);
    const low = bits.read(24);
    const crc = ((bits.read(16) << 16) | bits.read(16)) >>> 0;
    if (high === END_MAGIC[0] && low === END_MAGIC[1]) return this.#endStream(crc);
    if (high !== BLOCK_MAGIC[0] || low !== BLOCK_MAGIC[1]) throw new BadBlock('no block where one should be');
    const block = readBzip2Block(bits, this.#pointers);
    const actual = yield* this.#expand(block);
    if (actual !== crc) throw new BadBlock("a block's checksum is wrong: the data was damaged");
    this.#streamCrc = (((this.#streamCrc << 1) | (this.#streamCrc >>> 31)) ^ crc) >>> 0;
  }

  #openStream(): void {
    const bits = this.#bits;
    const level = bits.read(24) === 0x425a68 ? bits.read(8) - 0x30 : 0;
    if (level < 1 || level > 9) {
      throw new BadBlock(
        this.#streams === 0 ? 'it does not begin as bzip2 does' : 'something else follows its end',
      );
    }
    if (this.#pointers.length !== level * BLOCK_UNIT) this.#pointers = new Int32Array(level * BLOCK_UNIT);
    this.#inStream = true;
    this.#streams += 1;
    this.#streamCrc = 0;
  }

  #endStream(crc: number): void {
    if (crc !== this.#streamCrc) throw new BadBlock("a stream's checksum is wrong: the data was damaged");
    this.#inStream = false;
    this.#bits.align();
  }

  /** Walks the chain and undoes the first run-length coding: four equal bytes, then a count. Gives the CRC. */
  *#expand(block: Bzip2Block): Generator<Uint8Array, number> {
    const walk: Walk = {
      place: this.#pointers[block.origin]! >>> 8,
      left: block.length,
      crc: -1,
      last: -1,
      equal: 0,
      repeat: 0,
    };
    while (walk.left > 0 || walk.repeat > 0) {
      const filled = fillFromChain(this.#pointers, walk, this.#output);
      if (filled > 0) yield this.#output.subarray(0, filled);
    }
    return ~walk.crc >>> 0;
  }
}

interface Walk {
  place: number;
  left: number;
  crc: number;
  last: number;
  equal: number;
  repeat: number;
}

/** Writes decoded bytes to `output` until it is full or the block is over; the hot loop, hence the locals. */
function fillFromChain(pointers: Int32Array, walk: Walk, output: Uint8Array): number {
  let { place, left, crc, last, equal, repeat } = walk;
  let filled = 0;
  while (filled < output.length) {
    if (repeat > 0) {
      repeat -= 1;
    } else {
      if (left === 0) break;
      left -= 1;
      const entry = pointers[place]!;
      const byte = entry & 0xff;
      place = entry >>> 8;
      if (equal === 4) {
        equal = 0;
        repeat = byte;
        continue;
      }
      equal = byte === last ? equal + 1 : 1;
      last = byte;
    }
    output[filled] = last;
    filled += 1;
    crc = (crc << 8) ^ crcTable[(crc >>> 24) ^ last]!;
  }
  Object.assign(walk, { place, left, crc, last, equal, repeat });
  return filled;
}
