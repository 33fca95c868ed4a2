import type { BitReader } from './codec-bzip2-bits.js';

const GROUP_SIZE = 50;
const MAX_CODE_LENGTH = 20;
const RUN_A = 0;
const RUN_B = 1;

/** What a block holds that cannot be; the decoder words the error. */
export class BadBlock extends Error {}

/** A block after entropy decoding: `length` bytes in the low 8 bits of `pointers`, and the place to begin. */
export interface Bzip2Block {
  readonly length: number;
  readonly origin: number;
}

/**
 * Decodes one block's symbols into `pointers` and turns them into the inverse Burrows–Wheeler chain: entry i
 * holds the next entry's index above a byte. Throws BadBlock; lets OutOfBits through.
 */
export function readBzip2Block(bits: BitReader, pointers: Int32Array): Bzip2Block {
  if (bits.read(1) === 1) throw new BadBlock('a randomised block, as only bzip2 before 0.9.5 wrote');
  const origin = bits.read(24);
  const alphabet = readAlphabet(bits);
  const tableCount = bits.read(3);
  if (tableCount < 2 || tableCount > 6) throw new BadBlock('a bad number of Huffman tables');
  const selectors = readSelectors(bits, tableCount);
  const tables: HuffmanTable[] = [];
  for (let i = 0; i < tableCount; i++) tables.push(readTable(bits, alphabet.length + 2));
  const counts = new Uint32Array(256);
  const length = readSymbols(bits, { alphabet, selectors, tables, pointers, counts });
  if (origin >= length) throw new BadBlock('its origin lies outside');
  linkChain(pointers, length, counts);
  return { length, origin };
}

/** The bytes that occur, ascending. */
function readAlphabet(bits: BitReader): Uint8Array {
  const groups = bits.read(16);
  const found: number[] = [];
  for (let group = 0; group < 16; group++) {
    if ((groups & (0x8000 >> group)) === 0) continue;
    const members = bits.read(16);
    for (let i = 0; i < 16; i++) if ((members & (0x8000 >> i)) !== 0) found.push(group * 16 + i);
  }
  if (found.length === 0) throw new BadBlock('an empty alphabet');
  return Uint8Array.from(found);
}

/** Which table codes each group of 50 symbols. */
function readSelectors(bits: BitReader, tableCount: number): Uint8Array {
  const count = bits.read(15);
  if (count === 0) throw new BadBlock('no selectors');
  const order = [0, 1, 2, 3, 4, 5];
  const selectors = new Uint8Array(count);
  for (let i = 0; i < count; i++) {
    let rank = 0;
    while (bits.read(1) === 1) {
      rank += 1;
      if (rank >= tableCount) throw new BadBlock('a bad selector');
    }
    const [table] = order.splice(rank, 1) as [number];
    order.unshift(table);
    selectors[i] = table;
  }
  return selectors;
}

/** A canonical Huffman code. */
interface HuffmanTable {
  /** For every 10 bits that begin with a whole code: its symbol << 5 | its length; else 0. */
  readonly short: Uint16Array;
  /** For each length, the first 20-bit value behind its codes. */
  readonly limits: Int32Array;
  /** For each length, its first code minus the index of its first symbol in `symbols`. */
  readonly bases: Int32Array;
  readonly symbols: Uint16Array;
}

const SHORT_BITS = 10;

function readTable(bits: BitReader, size: number): HuffmanTable {
  const lengths = new Uint8Array(size);
  let length = bits.read(5);
  for (let symbol = 0; symbol < size; symbol++) {
    for (;;) {
      if (length < 1 || length > MAX_CODE_LENGTH) throw new BadBlock('a bad code length');
      if (bits.read(1) === 0) break;
      length += bits.read(1) === 0 ? 1 : -1;
    }
    lengths[symbol] = length;
  }
  return buildTable(lengths);
}

function buildTable(lengths: Uint8Array): HuffmanTable {
  const symbols = new Uint16Array(lengths.length);
  const limits = new Int32Array(MAX_CODE_LENGTH + 2);
  const bases = new Int32Array(MAX_CODE_LENGTH + 2);
  const short = new Uint16Array(1 << SHORT_BITS);
  let code = 0;
  let index = 0;
  for (let length = 1; length <= MAX_CODE_LENGTH; length++) {
    bases[length] = code - index;
    for (let symbol = 0; symbol < lengths.length; symbol++) {
      if (lengths[symbol] !== length) continue;
      if (code >= 1 << length) throw new BadBlock('an oversubscribed Huffman code');
      symbols[index] = symbol;
      if (length <= SHORT_BITS) {
        const first = code << (SHORT_BITS - length);
        short.fill((symbol << 5) | length, first, first + (1 << (SHORT_BITS - length)));
      }
      index += 1;
      code += 1;
    }
    limits[length] = code << (MAX_CODE_LENGTH - length);
    code <<= 1;
  }
  return { short, limits, bases, symbols };
}

function readSymbol(bits: BitReader, table: HuffmanTable): number {
  const ahead = bits.peek20();
  const entry = table.short[ahead >>> (MAX_CODE_LENGTH - SHORT_BITS)]!;
  if (entry !== 0) {
    bits.skip(entry & 31);
    return entry >>> 5;
  }
  for (let length = SHORT_BITS + 1; length <= MAX_CODE_LENGTH; length++) {
    if (ahead >= table.limits[length]!) continue;
    bits.skip(length);
    return table.symbols[(ahead >>> (MAX_CODE_LENGTH - length)) - table.bases[length]!]!;
  }
  throw new BadBlock('a code that stands for nothing');
}

interface SymbolInput {
  readonly alphabet: Uint8Array;
  readonly selectors: Uint8Array;
  readonly tables: readonly HuffmanTable[];
  readonly pointers: Int32Array;
  readonly counts: Uint32Array;
}

/** Huffman symbols to bytes: runs of the front byte, and move-to-front ranks. Gives the number of bytes. */
function readSymbols(bits: BitReader, input: SymbolInput): number {
  const { selectors, tables, pointers, counts } = input;
  const front = Uint8Array.from(input.alphabet);
  const endOfBlock = front.length + 1;
  let length = 0;
  let run = 0;
  let runBit = 1;
  for (let group = 0; group < selectors.length; group++) {
    const table = tables[selectors[group]!]!;
    for (let i = 0; i < GROUP_SIZE; i++) {
      const symbol = readSymbol(bits, table);
      if (symbol <= RUN_B) {
        run += symbol === RUN_A ? runBit : runBit * 2;
        runBit *= 2;
        if (run > pointers.length) throw new BadBlock('a run longer than the block');
        continue;
      }
      if (run > 0) {
        if (length + run > pointers.length) throw new BadBlock('more bytes than its size allows');
        const byte = front[0]!;
        pointers.fill(byte, length, length + run);
        counts[byte]! += run;
        length += run;
        run = 0;
        runBit = 1;
      }
      if (symbol === endOfBlock) return length;
      if (length >= pointers.length) throw new BadBlock('more bytes than its size allows');
      const byte = front[symbol - 1]!;
      front.copyWithin(1, 0, symbol - 1);
      front[0] = byte;
      pointers[length] = byte;
      counts[byte]! += 1;
      length += 1;
    }
  }
  throw new BadBlock('no end of block');
}

/** The inverse Burrows–Wheeler transform: puts above each byte the index of the one that follows it. */
function linkChain(pointers: Int32Array, length: number, counts: Uint32Array): void {
  const starts = new Uint32Array(256);
  let sum = 0;
  for (let byte = 0; byte < 256; byte++) {
    starts[byte] = sum;
    sum += counts[byte]!;
  }
  for (let i = 0; i < length; i++) {
    const byte = pointers[i]! & 0xff;
    const place = starts[byte]!;
    starts[byte] = place + 1;
    pointers[place] = pointers[place]! | (i << 8);
  }
}
