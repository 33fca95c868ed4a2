import { encodeSymbols, transformBlock } from './bzip2-block.js';

/**
 * Bytes to a block: few, because sorting a block holds up everything else for tens of milliseconds. This is the
 * smallest size the format knows.
 */
const blockSize = 100_000;
const longestRun = 255;
const blockMagic = 0x314159265359n;
const endMagic = 0x177245385090n;
const groupSize = 50;
const longestCode = 17;

/** The format's own check sum: the polynomial of Ethernet's, highest bit first. */
const checkTable = new Int32Array(256).map((_, byte) => {
  let value = byte << 24;
  for (let bit = 0; bit < 8; bit++) value = value < 0 ? (value << 1) ^ 0x04c11db7 : value << 1;
  return value;
});

/**
 * Compresses to the format of bzip2, in which Nix keeps build logs: `write` any number of pieces, then `end`;
 * both give the bytes that are ready. Format: Joe Tsai, "BZIP2: Format Specification" (2016).
 */
export class Bzip2Encoder {
  readonly #bits = new BitWriter();
  readonly #block = new Uint8Array(blockSize);
  #length = 0;
  #blockCheck = -1;
  #streamCheck = 0;
  #runByte = -1;
  #runLength = 0;

  constructor() {
    this.#bits.write(32, 0x425a6831); // "BZh1"
  }

  write(chunk: Uint8Array): Buffer {
    for (const byte of chunk) {
      if (byte === this.#runByte && this.#runLength < longestRun) {
        this.#runLength++;
        continue;
      }
      this.#flushRun();
      this.#runByte = byte;
      this.#runLength = 1;
    }
    return this.#bits.take();
  }

  end(): Buffer {
    this.#flushRun();
    if (this.#length > 0) this.#writeBlock();
    this.#bits.writeLong(endMagic);
    this.#bits.write(32, this.#streamCheck);
    this.#bits.pad();
    return this.#bits.take();
  }

  /** Runs of four and more are written as four and a count of the rest. */
  #flushRun(): void {
    const plain = Math.min(this.#runLength, 4);
    for (let count = 0; count < plain; count++) this.#block[this.#length++] = this.#runByte;
    if (plain === 4) this.#block[this.#length++] = this.#runLength - 4;
    let check = this.#blockCheck;
    for (let count = 0; count < this.#runLength; count++) {
      check = (check << 8) ^ checkTable[(check >>> 24) ^ this.#runByte]!;
    }
    this.#blockCheck = check;
    this.#runLength = 0;
    // A decoder's block has 19 bytes less than its name says.
    if (this.#length > blockSize - 19 - 5) this.#writeBlock();
  }

  #writeBlock(): void {
    const check = ~this.#blockCheck;
    this.#streamCheck = ((this.#streamCheck << 1) | (this.#streamCheck >>> 31)) ^ check;
    const { bytes, origin } = transformBlock(this.#block.subarray(0, this.#length));
    this.#bits.writeLong(blockMagic);
    this.#bits.write(32, check);
    this.#bits.write(1, 0);
    this.#bits.write(24, origin);
    const { symbols, alphabet, used } = encodeSymbols(bytes);
    this.#writeUsed(used);
    this.#writeSymbols(symbols, alphabet);
    this.#length = 0;
    this.#blockCheck = -1;
  }

  /** Sixteen bits say in which sixteenths of the byte values some occur, then sixteen each which. */
  #writeUsed(used: readonly boolean[]): void {
    const sixteenths = Array.from({ length: 16 }, (_, index) => used.slice(index * 16, index * 16 + 16));
    for (const sixteenth of sixteenths) this.#bits.write(1, sixteenth.includes(true) ? 1 : 0);
    for (const sixteenth of sixteenths) {
      if (sixteenth.includes(true)) for (const occurs of sixteenth) this.#bits.write(1, occurs ? 1 : 0);
    }
  }

  /** With one code for all: the format wants two at least, so it is sent twice and the first one selected. */
  #writeSymbols(symbols: Uint16Array, alphabet: number): void {
    const lengths = codeLengths(symbols, alphabet);
    const groups = Math.ceil(symbols.length / groupSize);
    this.#bits.write(3, 2);
    this.#bits.write(15, groups);
    for (let group = 0; group < groups; group++) this.#bits.write(1, 0);
    for (let copy = 0; copy < 2; copy++) this.#writeLengths(lengths);
    const codes = assignCodes(lengths);
    for (const symbol of symbols) this.#bits.write(lengths[symbol]!, codes[symbol]!);
  }

  #writeLengths(lengths: readonly number[]): void {
    let current = lengths[0]!;
    this.#bits.write(5, current);
    for (const length of lengths) {
      for (; current < length; current++) this.#bits.write(2, 2);
      for (; current > length; current--) this.#bits.write(2, 3);
      this.#bits.write(1, 0);
    }
  }
}

/** Lengths of a Huffman code, none longer than the format's encoders make them. */
function codeLengths(symbols: Uint16Array, alphabet: number): number[] {
  let weights = Array.from({ length: alphabet }, () => 1);
  for (const symbol of symbols) weights[symbol]!++;
  for (;;) {
    const lengths = huffmanLengths(weights);
    if (Math.max(...lengths) <= longestCode) return lengths;
    weights = weights.map((weight) => (weight >> 1) + 1);
  }
}

function huffmanLengths(weights: readonly number[]): number[] {
  const lengths = weights.map(() => 0);
  const trees = weights.map((weight, symbol) => ({ weight, symbols: [symbol] }));
  while (trees.length > 1) {
    trees.sort((a, b) => b.weight - a.weight);
    const [a, b] = [trees.pop()!, trees.pop()!];
    const symbols = [...a.symbols, ...b.symbols];
    for (const symbol of symbols) lengths[symbol]!++;
    trees.push({ weight: a.weight + b.weight, symbols });
  }
  return lengths;
}

/** Codes in the order of their lengths, then of their symbols. */
function assignCodes(lengths: readonly number[]): number[] {
  const codes = lengths.map(() => 0);
  let code = 0;
  for (let length = 1; length <= longestCode; length++, code <<= 1) {
    for (const [symbol, own] of lengths.entries()) if (own === length) codes[symbol] = code++;
  }
  return codes;
}

/** Gathers bits, the first one highest. */
class BitWriter {
  #bytes: number[] = [];
  #current = 0;
  #count = 0;

  write(count: number, value: number): void {
    for (let left = count; left > 0; ) {
      const taken = Math.min(left, 8 - this.#count);
      const bits = (value >>> (left - taken)) & ((1 << taken) - 1);
      this.#current = (this.#current << taken) | bits;
      this.#count += taken;
      left -= taken;
      if (this.#count === 8) this.#flush();
    }
  }

  writeLong(value: bigint): void {
    this.write(24, Number(value >> 24n));
    this.write(24, Number(value & 0xffffffn));
  }

  pad(): void {
    if (this.#count > 0) this.write(8 - this.#count, 0);
  }

  take(): Buffer {
    const bytes = Buffer.from(this.#bytes);
    this.#bytes = [];
    return bytes;
  }

  #flush(): void {
    this.#bytes.push(this.#current);
    this.#current = 0;
    this.#count = 0;
  }
}
