import type * as Zstd from 'zstd-napi/binding.js';
import { codecMalformed, codecTruncated, OUTPUT_SIZE, type StepCodec } from './codec-step.js';
import { DEFAULT_WINDOW_LOG_MAX, zstd } from './codec-zstd.js';
import { LarderError } from './errors.js';

/**
 * Deltas: a new archive as a zstd frame with an older one as its raw dictionary (what `zstd --patch-from` writes).
 * Measured on old and new releases of Debian packages: a seventh of the compressed archive, some 13 MB/s to make, 1 GB/s
 * to apply; of an archive in which only embedded store hashes changed, a thousandth.
 */

/** Bytes of the larger archive at most: a window that spans both is what zstd reads without being told to. */
export const MAX_DELTA_NAR = 2 ** DEFAULT_WINDOW_LOG_MAX;

/** What finds most: smaller tables forget the far half of the dictionary, faster strategies miss what moved. */
const LEVEL = 6;
/** A table has a place for each byte of the older archive, where archives are large for each second one: that does as well. */
const LARGE_WINDOW_LOG = 23;
const MAX_HASH_LOG = 24;
const MAX_CHAIN_LOG = 25;
const MIN_LOG = 10;

/** Bytes that a place in the table takes, and how many tables there are: the dictionary's, and the copy that goes on growing. */
const PLACE_SIZE = 5;
const TABLES = 2;

/** Bytes of what a delta is between, and of the largest that is of use. */
export interface DeltaSizes {
  readonly baseSize: number;
  readonly newSize: number;
  readonly maxSize: number;
}

/**
 * Bytes of memory that making a delta takes: the dictionary, the buffer that held it and then holds the new archive, the
 * tables, and the delta itself.
 */
export function deltaMemory({ baseSize, newSize, maxSize }: DeltaSizes): number {
  const { hashLog } = tableLogs(baseSize + newSize);
  return baseSize + Math.max(baseSize, newSize) + TABLES * PLACE_SIZE * 2 ** hashLog + maxSize;
}

function tableLogs(size: number): {
  readonly windowLog: number;
  readonly hashLog: number;
  readonly chainLog: number;
} {
  const windowLog = Math.max(MIN_LOG, Math.min(DEFAULT_WINDOW_LOG_MAX, Math.ceil(Math.log2(size))));
  const hashLog = windowLog - (windowLog >= LARGE_WINDOW_LOG ? 2 : 1);
  return {
    windowLog,
    hashLog: Math.max(MIN_LOG, Math.min(MAX_HASH_LOG, hashLog)),
    chainLog: Math.min(MAX_CHAIN_LOG, windowLog),
  };
}

/** This thread's, for one delta after another: what it holds would else stay until the garbage collector comes by. */
let spareContext: Zstd.CCtx | undefined;

/** Makes deltas to one archive, on this thread. */
export class DeltaEncoder {
  readonly #context: Zstd.CCtx;
  readonly #newSize: number;

  /**
   * Takes a copy of `base`: its buffer may be used again, for the new archive.
   * @throws `delta-too-large` for archives beyond {@link MAX_DELTA_NAR}
   */
  constructor(base: Uint8Array, newSize: number) {
    if (base.length > MAX_DELTA_NAR || newSize > MAX_DELTA_NAR) throw tooLarge();
    const { CCtx, CParameter } = zstd();
    const context = spareContext ?? new CCtx();
    spareContext = undefined;
    const { windowLog, hashLog, chainLog } = tableLogs(base.length + newSize);
    context.setParameter(CParameter.compressionLevel, LEVEL);
    context.setParameter(CParameter.windowLog, windowLog);
    context.setParameter(CParameter.hashLog, hashLog);
    context.setParameter(CParameter.chainLog, chainLog);
    if (base.length > 0) context.loadDictionary(base);
    this.#context = context;
    this.#newSize = newSize;
  }

  /** The delta, made in one step; `undefined` if it is larger than `maxSize`, which is noticed when it is. */
  encode(next: Uint8Array, maxSize = Number.POSITIVE_INFINITY): Uint8Array | undefined {
    if (next.length !== this.#newSize) throw new RangeError(`${next.length} bytes, not ${this.#newSize}`);
    const output = Buffer.allocUnsafeSlow(Math.min(maxSize, zstd().compressBound(next.length)));
    try {
      return Uint8Array.from(output.subarray(0, this.#context.compress2(output, next)));
    } catch (error) {
      if (error instanceof Error && error.message.includes('buffer is too small')) return undefined;
      throw error;
    }
  }

  /** Lets go of the dictionary. */
  close(): void {
    this.#context.reset(zstd().ResetDirective.sessionAndParameters);
    spareContext = this.#context;
  }
}

/**
 * Makes the delta from `base` to `next`, on this thread, in one step.
 * @throws `delta-too-large` for archives beyond {@link MAX_DELTA_NAR}
 */
export function makeDelta(base: Uint8Array, next: Uint8Array): Uint8Array {
  const encoder = new DeltaEncoder(base, next.length);
  try {
    return encoder.encode(next)!;
  } finally {
    encoder.close();
  }
}

/** Gives the new archive of a delta that comes piecemeal. What it gives is as good as its hash: bases may be others. */
export class DeltaDecoder implements StepCodec {
  #context: Zstd.DCtx | undefined;
  readonly #output = Buffer.allocUnsafeSlow(OUTPUT_SIZE);
  #isOver = false;

  constructor(base: Uint8Array) {
    const { DCtx, DParameter } = zstd();
    this.#context = new DCtx();
    this.#context.setParameter(DParameter.windowLogMax, DEFAULT_WINDOW_LOG_MAX);
    if (base.length > 0) this.#context.loadDictionary(base);
  }

  *write(input: Uint8Array): Generator<Uint8Array> {
    let rest = input;
    for (let more = rest.length > 0; more; ) {
      if (this.#isOver) throw codecMalformed('delta', 'there is more behind its end');
      const [hint, produced, consumed] = this.#step(rest);
      rest = rest.subarray(consumed);
      this.#isOver = hint === 0;
      more = rest.length > 0 || (produced === OUTPUT_SIZE && !this.#isOver);
      if (produced > 0) yield this.#output.subarray(0, produced);
    }
  }

  #step(input: Uint8Array): [number, number, number] {
    try {
      return this.#context!.decompressStream(this.#output, input);
    } catch (error) {
      throw codecMalformed('delta', error instanceof Error ? error.message : String(error), error);
    }
  }

  end(): readonly Uint8Array[] {
    if (!this.#isOver) throw codecTruncated('delta');
    return [];
  }

  close(): void {
    this.#context = undefined;
  }
}

function tooLarge(): LarderError<'delta-too-large'> {
  return new LarderError('delta-too-large', `no delta is made between archives above ${MAX_DELTA_NAR} bytes`);
}
