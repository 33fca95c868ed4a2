import { createRequire } from 'node:module';
import type * as Zstd from 'zstd-napi/binding.js';
import { codecMalformed, codecTooLarge, codecTruncated, OUTPUT_SIZE, type StepCodec } from './codec-step.js';

const require = createRequire(import.meta.url);

/** zstd's own default limit (128 MiB windows): what stock Nix reads. */
export const DEFAULT_WINDOW_LOG_MAX = 27;
const IDLE_CONTEXTS_KEPT = 4;
const NO_BYTES = new Uint8Array(0);

let loaded: typeof Zstd | undefined;
const idleDecoders: Zstd.DCtx[] = [];

/** The low-level binding, loaded at first use: a start of the CLI that compresses nothing does not pay for it. */
export function zstd(): typeof Zstd {
  loaded ??= require('zstd-napi/binding.js') as typeof Zstd;
  return loaded;
}

export interface ZstdCompressOptions {
  /** 1 (fast) to 22 (small); 3 by default. */
  readonly level?: number;
  /** log2 of the window, for matches further back than the level's own window. Readers need as much memory. */
  readonly windowLog?: number;
  /** Uncompressed size of the stream if known: lets zstd fit its tables to small inputs. */
  readonly size?: number;
}

/** A compression context that writes checksummed frames. */
export function openZstdContext(options: ZstdCompressOptions): Zstd.CCtx {
  const { CCtx, CParameter } = zstd();
  const context = new CCtx();
  context.setParameter(CParameter.compressionLevel, options.level ?? 3);
  context.setParameter(CParameter.checksumFlag, 1);
  if (options.windowLog !== undefined) {
    context.setParameter(CParameter.enableLongDistanceMatching, 1);
    context.setParameter(CParameter.windowLog, options.windowLog);
  }
  return context;
}

/** Writes one zstd frame. */
export class ZstdEncoder implements StepCodec {
  readonly #context: Zstd.CCtx;
  readonly #output = Buffer.allocUnsafeSlow(OUTPUT_SIZE);

  constructor(options: ZstdCompressOptions) {
    this.#context = openZstdContext(options);
    if (options.size !== undefined) this.#context.setPledgedSrcSize(options.size);
  }

  *write(input: Uint8Array): Generator<Uint8Array> {
    const proceed = zstd().EndDirective.continue;
    let rest = input;
    while (rest.length > 0) {
      const [, produced, consumed] = this.#context.compressStream2(this.#output, rest, proceed);
      rest = rest.subarray(consumed);
      if (produced > 0) yield this.#output.subarray(0, produced);
    }
  }

  *end(): Generator<Uint8Array> {
    const finish = zstd().EndDirective.end;
    for (;;) {
      const [left, produced] = this.#context.compressStream2(this.#output, NO_BYTES, finish);
      if (produced > 0) yield this.#output.subarray(0, produced);
      if (left === 0) return;
    }
  }

  close(): void {}
}

/** Reads any run of zstd frames and skippable frames (RFC 8878), the seekable format included. */
export class ZstdDecoder implements StepCodec {
  #context: Zstd.DCtx | undefined;
  readonly #output = Buffer.allocUnsafeSlow(OUTPUT_SIZE);
  #inFrame = true;

  constructor(windowLogMax: number = DEFAULT_WINDOW_LOG_MAX) {
    const { DCtx, DParameter } = zstd();
    this.#context = idleDecoders.pop() ?? new DCtx();
    this.#context.setParameter(DParameter.windowLogMax, windowLogMax);
  }

  *write(input: Uint8Array): Generator<Uint8Array> {
    let rest = input;
    while (rest.length > 0) {
      const [hint, produced, consumed] = this.#step(rest);
      rest = rest.subarray(consumed);
      this.#inFrame = hint !== 0;
      if (produced > 0) yield this.#output.subarray(0, produced);
      // A full buffer may mean that more waits inside: ask again, unless the frame is over.
      if (rest.length === 0 && produced === OUTPUT_SIZE && hint !== 0) yield* this.#drain();
    }
  }

  *#drain(): Generator<Uint8Array> {
    for (;;) {
      const [hint, produced] = this.#step(NO_BYTES);
      this.#inFrame = hint !== 0;
      if (produced > 0) yield this.#output.subarray(0, produced);
      if (produced < OUTPUT_SIZE || hint === 0) return;
    }
  }

  #step(input: Uint8Array): [number, number, number] {
    try {
      return this.#context!.decompressStream(this.#output, input);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      if (message.includes('too much memory')) {
        throw codecTooLarge('zstd', 'its window is larger than allowed; recompress it with a smaller --long');
      }
      throw codecMalformed('zstd', message, error);
    }
  }

  end(): readonly Uint8Array[] {
    if (this.#inFrame) throw codecTruncated('zstd');
    return [];
  }

  /** Contexts cost 0.1 ms to make and are reused; one that held a huge window is let go. */
  close(): void {
    const context = this.#context;
    this.#context = undefined;
    if (context === undefined || idleDecoders.length >= IDLE_CONTEXTS_KEPT) return;
    context.reset(zstd().ResetDirective.sessionAndParameters);
    idleDecoders.push(context);
  }
}
