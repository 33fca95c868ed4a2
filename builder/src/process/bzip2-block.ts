/** What a block of bytes became: what a decoder turns back by following the rotations from `origin`. */
export interface TransformedBlock {
  readonly bytes: Uint8Array;
  readonly origin: number;
}

/** The Burrows-Wheeler transform: the last byte of each rotation of the block, in the order of the rotations. */
export function transformBlock(block: Uint8Array): TransformedBlock {
  const length = block.length;
  const order = sortRotations(block);
  const bytes = new Uint8Array(length);
  let origin = 0;
  for (let row = 0; row < length; row++) {
    const start = order[row]!;
    if (start === 0) origin = row;
    bytes[row] = block[start === 0 ? length - 1 : start - 1]!;
  }
  return { bytes, origin };
}

/** Doubles the length by which rotations are sorted until all differ, or are equal throughout. */
function sortRotations(block: Uint8Array): Int32Array {
  const length = block.length;
  let rank = Int32Array.from(block);
  let nextRank = new Int32Array(length);
  const order = new Int32Array(length);
  const shifted = new Int32Array(length);
  for (let index = 0; index < length; index++) shifted[index] = index;
  countingSort(shifted, rank, order, 256);
  let classes = renumber(order, rank, nextRank, 0);
  [rank, nextRank] = [nextRank, rank];
  for (let sorted = 1; sorted < length && classes < length; sorted *= 2) {
    // Moved back by `sorted`, the order is one by the second half; a stable sort by the first completes it.
    for (let row = 0; row < length; row++) {
      const start = order[row]! - sorted;
      shifted[row] = start < 0 ? start + length : start;
    }
    countingSort(shifted, rank, order, classes);
    classes = renumber(order, rank, nextRank, sorted);
    [rank, nextRank] = [nextRank, rank];
  }
  return order;
}

function countingSort(items: Int32Array, key: Int32Array, into: Int32Array, keys: number): void {
  const starts = new Int32Array(keys + 1);
  for (let index = 0; index < items.length; index++) starts[key[items[index]!]! + 1]!++;
  for (let index = 0; index < keys; index++) starts[index + 1]! += starts[index]!;
  for (let index = 0; index < items.length; index++) {
    const item = items[index]!;
    into[starts[key[item]!]!++] = item;
  }
}

/** Gives equal rotations equal numbers; returns how many different ones there are. */
function renumber(order: Int32Array, rank: Int32Array, into: Int32Array, sorted: number): number {
  const length = order.length;
  let number = -1;
  let previous = -1;
  for (const start of order) {
    if (previous < 0 || rank[start] !== rank[previous] || second(start) !== second(previous)) number++;
    into[start] = number;
    previous = start;
  }
  return number + 1;

  function second(start: number): number {
    const at = start + sorted;
    return rank[at >= length ? at - length : at]!;
  }
}

/** Symbols of a block: 0 and 1 write the length of a run of zeros in a binary of their own, the last one ends it. */
export interface BlockSymbols {
  readonly symbols: Uint16Array;
  readonly alphabet: number;
  /** Which byte values occur. */
  readonly used: readonly boolean[];
}

/** Moves each byte to the front of a list of all, and writes where it stood; runs of the first as their length. */
export function encodeSymbols(bytes: Uint8Array): BlockSymbols {
  const used = Array.from({ length: 256 }, () => false);
  for (const byte of bytes) used[byte] = true;
  const list = used.flatMap((occurs, byte) => (occurs ? [byte] : []));
  const end = list.length + 1;
  const symbols = new Uint16Array(bytes.length + 1);
  let count = 0;
  let run = 0;
  const flushRun = () => {
    for (; run > 0; run = (run - 1) >> 1) symbols[count++] = run % 2 === 1 ? 0 : 1;
  };
  for (const byte of bytes) {
    const position = list.indexOf(byte);
    if (position === 0) {
      run++;
      continue;
    }
    flushRun();
    symbols[count++] = position + 1;
    list.copyWithin(1, 0, position);
    list[0] = byte;
  }
  flushRun();
  symbols[count++] = end;
  return { symbols: symbols.subarray(0, count), alphabet: end + 1, used };
}
