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
const MAX_HASH_LOG = 24;
const MAX_CHAIN_LOG = 25;
const MIN_LOG = 10;

/** Bytes of memory that making a delta takes, both archives included. */
export function deltaMemory(baseSize: number, newSize: number): number {
  const { hashLog, chainLog } = tableLogs(baseSize + newSize);
  return baseSize + 2 * newSize + 4 * (2 ** hashLog + 2 ** chainLog);
}

function tableLogs(size: number): {
  readonly windowLog: number;
  readonly hashLog: number;
  readonly chainLog: number;
} {
  const windowLog = Math.max(MIN_LOG, Math.min(DEFAULT_WINDOW_LOG_MAX, Math.ceil(Math.log2(size))));
  return {
    windowLog,
    hashLog: Math.min(MAX_HASH_LOG, windowLog),
    chainLog: Math.min(MAX_CHAIN_LOG, windowLog),
  };
}

/**
 * Makes the delta from `base` to `next`, on this thread, in one step.
 * @throws `delta-too-large` for archives beyond {@link MAX_DELTA_NAR}
 */
export function makeDelta(base: Uint8Array, next: Uint8Array): Uint8Array {
  if (base.length > MAX_DELTA_NAR || next.length > MAX_DELTA_NAR) throw tooLarge();
  const { CCtx, CParameter, EndDirective, compressBound } = zstd();
  const context = new CCtx();
  const { windowLog, hashLog, chainLog } = tableLogs(base.length + next.length);
  context.setParameter(CParameter.compressionLevel, LEVEL);
  context.setParameter(CParameter.windowLog, windowLog);
  context.setParameter(CParameter.hashLog, hashLog);
  context.setParameter(CParameter.chainLog, chainLog);
  if (base.length > 0) context.loadDictionary(base);
  context.setPledgedSrcSize(next.length);
  const output = Buffer.allocUnsafeSlow(compressBound(next.length));
  const [, produced] = context.compressStream2(output, next, EndDirective.end);
  return Uint8Array.from(output.subarray(0, produced));
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
