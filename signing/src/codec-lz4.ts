import { codecMalformed, codecTruncated, type StepCodec } from './codec-step.js';
import { XxHash32 } from './codec-xxhash.js';

const FRAME_MAGIC = 0x184d2204;
const SKIPPABLE_MAGIC = 0x184d2a50;
const HISTORY_SIZE = 64 * 1024;
const MIN_MATCH = 4;
/** Why a field is wanted next. */
type Stage =
  | 'magic'
  | 'skip-size'
  | 'skip'
  | 'descriptor'
  | 'descriptor-rest'
  | 'block-size'
  | 'block'
  | 'end';

/** The frame descriptor's flags and what they ask for. */
interface Descriptor {
  readonly linked: boolean;
  readonly blockChecksum: boolean;
  readonly contentChecksum: boolean;
  readonly restSize: number;
  readonly maxBlockSize: number;
}

/**
 * Reads .lz4 frames (LZ4 Frame Format 1.6) of any number, skippable ones too, checking every checksum. Written
 * here because it is small and no maintained package on npm streams it.
 */
export class Lz4Decoder implements StepCodec {
  #stage: Stage = 'magic';
  #wanted = 4;
  #field: Uint8Array[] = [];
  #fieldSize = 0;
  #frames = 0;
  #descriptor: Descriptor | undefined;
  #descriptorHead: Uint8Array = new Uint8Array(0);
  #stored = false;
  #content = new XxHash32();
  /** 64 KiB of what was decoded last, then room for a block. */
  #buffer = new Uint8Array(0);
  #historySize = 0;

  *write(input: Uint8Array): Generator<Uint8Array> {
    let rest = input;
    while (rest.length > 0) {
      const piece = rest.subarray(0, this.#wanted - this.#fieldSize);
      rest = rest.subarray(piece.length);
      this.#fieldSize += piece.length;
      // What is skipped is not kept; the rest is copied, for the input is the caller's to reuse.
      if (this.#stage !== 'skip') this.#field.push(Uint8Array.from(piece));
      if (this.#fieldSize < this.#wanted) return;
      const field = Buffer.concat(this.#field);
      this.#field = [];
      this.#fieldSize = 0;
      const output = this.#take(field);
      if (output !== undefined) yield output;
    }
  }

  end(): readonly Uint8Array[] {
    if (this.#stage !== 'magic' || this.#fieldSize > 0 || this.#frames === 0) throw codecTruncated('lz4');
    return [];
  }

  close(): void {
    this.#buffer = new Uint8Array(0);
  }

  /** Gives nothing, so that a step that yields nothing can return it. */
  #expect(stage: Stage, wanted: number): undefined {
    this.#stage = stage;
    this.#wanted = wanted;
  }

  #take(field: Buffer): Uint8Array | undefined {
    switch (this.#stage) {
      case 'magic':
        return this.#takeMagic(field.readUInt32LE(0));
      case 'skip-size': {
        const size = field.readUInt32LE(0);
        return size === 0 ? this.#expect('magic', 4) : this.#expect('skip', size);
      }
      case 'skip':
        return this.#expect('magic', 4);
      case 'descriptor':
        this.#descriptor = parseDescriptor(field);
        this.#descriptorHead = field;
        return this.#expect('descriptor-rest', this.#descriptor.restSize);
      case 'descriptor-rest':
        return this.#openFrame(field);
      case 'block-size':
        return this.#takeBlockSize(field.readUInt32LE(0));
      case 'block':
        return this.#takeBlock(field);
      case 'end':
        if (field.readUInt32LE(0) !== this.#content.digest()) throw damaged();
        return this.#expect('magic', 4);
    }
  }

  #takeMagic(magic: number): undefined {
    if (magic === FRAME_MAGIC) return this.#expect('descriptor', 2);
    if ((magic & 0xfffffff0) >>> 0 === SKIPPABLE_MAGIC) return this.#expect('skip-size', 4);
    throw codecMalformed(
      'lz4',
      this.#frames === 0 ? 'it does not begin as lz4 does' : 'something else follows its end',
    );
  }

  #openFrame(rest: Buffer): undefined {
    const hash = new XxHash32();
    hash.update(this.#descriptorHead);
    hash.update(rest.subarray(0, rest.length - 1));
    if (((hash.digest() >>> 8) & 0xff) !== rest[rest.length - 1]) throw damaged();
    const size = HISTORY_SIZE + this.#descriptor!.maxBlockSize;
    if (this.#buffer.length !== size) this.#buffer = new Uint8Array(size);
    this.#historySize = 0;
    this.#content = new XxHash32();
    this.#frames += 1;
    this.#expect('block-size', 4);
  }

  #takeBlockSize(word: number): undefined {
    const { contentChecksum, maxBlockSize, blockChecksum } = this.#descriptor!;
    if (word === 0) return contentChecksum ? this.#expect('end', 4) : this.#expect('magic', 4);
    this.#stored = word >>> 31 === 1;
    const size = word & 0x7fffffff;
    if (size > maxBlockSize) throw codecMalformed('lz4', 'a block is larger than its frame allows');
    this.#expect('block', size + (blockChecksum ? 4 : 0));
  }

  #takeBlock(field: Buffer): Uint8Array {
    const { linked, blockChecksum, contentChecksum } = this.#descriptor!;
    const block = blockChecksum ? field.subarray(0, -4) : field;
    if (blockChecksum) {
      const hash = new XxHash32();
      hash.update(block);
      if (hash.digest() !== field.readUInt32LE(block.length)) throw damaged();
    }
    const size = this.#decode(block, linked ? this.#historySize : 0);
    const output = this.#buffer.slice(HISTORY_SIZE, HISTORY_SIZE + size);
    if (contentChecksum) this.#content.update(output);
    if (linked) {
      this.#buffer.copyWithin(0, size, HISTORY_SIZE + size);
      this.#historySize = Math.min(HISTORY_SIZE, this.#historySize + size);
    }
    this.#expect('block-size', 4);
    return output;
  }

  #decode(block: Uint8Array, historySize: number): number {
    if (!this.#stored) return decodeBlock(block, this.#buffer, historySize);
    this.#buffer.set(block, HISTORY_SIZE);
    return block.length;
  }
}

function damaged(): Error {
  return codecMalformed('lz4', 'a checksum is wrong: the data was damaged');
}

function parseDescriptor(field: Uint8Array): Descriptor {
  const [flags, sizes] = field as unknown as [number, number];
  if (flags >>> 6 !== 1 || (flags & 2) !== 0) throw codecMalformed('lz4', 'its version is not known');
  if ((flags & 1) !== 0) throw codecMalformed('lz4', 'it needs a dictionary');
  const sizeCode = (sizes >>> 4) & 7;
  if (sizeCode < 4 || (sizes & 0x8f) !== 0) throw codecMalformed('lz4', 'a bad block size');
  return {
    linked: (flags & 0x20) === 0,
    blockChecksum: (flags & 0x10) !== 0,
    contentChecksum: (flags & 4) !== 0,
    restSize: (flags & 8) !== 0 ? 9 : 1,
    maxBlockSize: 1 << (8 + 2 * sizeCode),
  };
}

/**
 * Decodes a block (LZ4 Block Format) into `buffer` behind its first 64 KiB, the last `historySize` bytes of
 * which matches may reach into. Gives the size decoded.
 */
function decodeBlock(block: Uint8Array, buffer: Uint8Array, historySize: number): number {
  const limit = buffer.length;
  const oldest = HISTORY_SIZE - historySize;
  let at = 0;
  let to = HISTORY_SIZE;
  const readLength = (short: number): number => {
    let length = short;
    if (short !== 15) return length;
    for (;;) {
      const byte = block[at++];
      if (byte === undefined) throw codecMalformed('lz4', 'a block ends inside a length');
      length += byte;
      if (byte !== 255) return length;
    }
  };
  while (at < block.length) {
    const token = block[at++]!;
    const literals = readLength(token >>> 4);
    if (at + literals > block.length || to + literals > limit)
      throw codecMalformed('lz4', 'literals overrun');
    buffer.set(block.subarray(at, at + literals), to);
    at += literals;
    to += literals;
    if (at === block.length) break;
    if (at + 2 > block.length) throw codecMalformed('lz4', 'a block ends inside a match');
    const offset = block[at]! | (block[at + 1]! << 8);
    at += 2;
    const length = readLength(token & 15) + MIN_MATCH;
    const from = to - offset;
    if (offset === 0 || from < oldest || to + length > limit) throw codecMalformed('lz4', 'a match overruns');
    if (offset >= length) buffer.copyWithin(to, from, from + length);
    else for (let i = 0; i < length; i++) buffer[to + i] = buffer[from + i]!;
    to += length;
  }
  return to - HISTORY_SIZE;
}
