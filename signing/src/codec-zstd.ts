import { createRequire } from 'node:module';
import type * as Zstd from 'zstd-napi/binding.js';
import { codecMalformed, codecTooLarge, codecTruncated, OUTPUT_SIZE, type StepCodec } from './codec-step.js';

const require = createRequire(import.meta.url);

/** zstd's own default limit (128 MiB windows): what stock Nix reads. */
export const DEFAULT_WINDOW_LOG_MAX = 27;
const IDLE_DECODERS_KEPT = 4;
const IDLE_CONTEXTS_KEPT = 4;
const NO_BYTES = new Uint8Array(0);

/** What a decoder takes long to make, against the time a small NAR takes. */
interface DecoderParts {
  readonly context: Zstd.DCtx;
  readonly output: Buffer;
}

let loaded: typeof Zstd | undefined;
const idleDecoders: DecoderParts[] = [];

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

const idleContexts: Zstd.CCtx[] = [];

/**
 * A compression context that writes checksummed frames. Some are kept for the next stream: their tables are
 * megabytes, which a garbage collector lets pile up.
 */
export function openZstdContext(options: ZstdCompressOptions): Zstd.CCtx {
  const { CCtx, CParameter } = zstd();
  const context = idleContexts.pop() ?? new CCtx();
  context.setParameter(CParameter.compressionLevel, options.level ?? 3);
  context.setParameter(CParameter.checksumFlag, 1);
  if (options.windowLog !== undefined) {
    context.setParameter(CParameter.enableLongDistanceMatching, 1);
    context.setParameter(CParameter.windowLog, options.windowLog);
  }
  return context;
}

/** Gives a context back; it must not be used any more. */
export function closeZstdContext(context: Zstd.CCtx): void {
  if (idleContexts.length >= IDLE_CONTEXTS_KEPT) return;
  context.reset(zstd().ResetDirective.sessionAndParameters);
  idleContexts.push(context);
}

/** Writes one zstd frame. */
export class ZstdEncoder implements StepCodec {
  #context: Zstd.CCtx | undefined;
  readonly #output = Buffer.allocUnsafeSlow(OUTPUT_SIZE);

  constructor(options: ZstdCompressOptions) {
    this.#context = openZstdContext(options);
    if (options.size !== undefined) this.#context.setPledgedSrcSize(options.size);
  }

  *write(input: Uint8Array): Generator<Uint8Array> {
    const proceed = zstd().EndDirective.continue;
    let rest = input;
    while (rest.length > 0) {
      const [, produced, consumed] = this.#context!.compressStream2(this.#output, rest, proceed);
      rest = rest.subarray(consumed);
      if (produced > 0) yield this.#output.subarray(0, produced);
    }
  }

  *end(): Generator<Uint8Array> {
    const finish = zstd().EndDirective.end;
    for (;;) {
      const [left, produced] = this.#context!.compressStream2(this.#output, NO_BYTES, finish);
      if (produced > 0) yield this.#output.subarray(0, produced);
      if (left === 0) return;
    }
  }

  close(): void {
    if (this.#context !== undefined) closeZstdContext(this.#context);
    this.#context = undefined;
  }
}

/** Hears where a frame, or skippable frame, ended: bytes of input and of output until there. */
export type OnZstdFrame = (inputEnd: number, outputEnd: number) => void;

export interface ZstdDecompressOptions {
  /** log2 of the largest window to allow; 27 by default, up to 31. */
  readonly windowLogMax?: number;
  readonly onFrame?: OnZstdFrame;
}

/** Reads any run of zstd frames and skippable frames (RFC 8878), the seekable format included. */
export class ZstdDecoder implements StepCodec {
  #parts: DecoderParts | undefined;
  readonly #onFrame: OnZstdFrame | undefined;
  #inFrame = true;
  #inputSize = 0;
  #outputSize = 0;

  constructor({ windowLogMax = DEFAULT_WINDOW_LOG_MAX, onFrame }: ZstdDecompressOptions = {}) {
    const { DCtx, DParameter } = zstd();
    this.#parts = idleDecoders.pop() ?? { context: new DCtx(), output: Buffer.allocUnsafeSlow(OUTPUT_SIZE) };
    this.#parts.context.setParameter(DParameter.windowLogMax, windowLogMax);
    this.#onFrame = onFrame;
  }

  *write(input: Uint8Array): Generator<Uint8Array> {
    const parts = this.#parts!;
    let rest = input;
    // A full buffer may mean that more waits inside: then ask again with nothing, unless the frame is over.
    for (let more = rest.length > 0; more; ) {
      const [hint, produced, consumed] = this.#step(parts, rest);
      rest = rest.subarray(consumed);
      this.#inFrame = hint !== 0;
      more = rest.length > 0 || (produced === OUTPUT_SIZE && this.#inFrame);
      if (produced > 0) yield parts.output.subarray(0, produced);
    }
  }

  #step({ context, output }: DecoderParts, input: Uint8Array): [number, number, number] {
    try {
      const result = context.decompressStream(output, input);
      const [hint, produced, consumed] = result;
      this.#inputSize += consumed;
      this.#outputSize += produced;
      if (hint === 0) this.#onFrame?.(this.#inputSize, this.#outputSize);
      return result;
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

  close(): void {
    const parts = this.#parts;
    this.#parts = undefined;
    if (parts === undefined || idleDecoders.length >= IDLE_DECODERS_KEPT) return;
    parts.context.reset(zstd().ResetDirective.sessionAndParameters);
    idleDecoders.push(parts);
  }
}
