/** The worker module behind `DeltaMaker`: making a delta keeps a thread busy for seconds. */
import { decompress } from '@larder/signing/codec';
import { DeltaDecoder, DeltaEncoder } from '@larder/signing/delta';
import { LarderError } from '@larder/signing/errors';
import { Hasher } from '@larder/signing/hash';
import { type JobContext, serveJobs } from '@larder/signing/worker-jobs';

export interface NarSizes {
  /** Bytes of the NARs, unpacked. */
  readonly baseSize: number;
  readonly newSize: number;
}

export interface DeltaParams extends NarSizes {
  /** Bytes of the largest delta that is of use. */
  readonly maxSize: number;
}

export type DeltaJobs = {
  /**
   * The stored base and then the stored NAR in, which are zstd and so are one stream of zstd; the delta is the result,
   * nothing if it is too large.
   */
  readonly make: { readonly params: DeltaParams; readonly result: Uint8Array | undefined };
  /** The stored base in; whether the delta gives the NAR with this hash. */
  readonly check: { readonly params: CheckParams; readonly result: boolean };
};

export interface CheckParams extends NarSizes {
  readonly delta: Uint8Array;
  /** SHA-256. */
  readonly narHash: Uint8Array;
}

async function make(params: DeltaParams, context: JobContext): Promise<Uint8Array | undefined> {
  const { baseSize, newSize, maxSize } = params;
  const nars = new StoredNars(baseSize + newSize, context);
  // One buffer for both in turn: the encoder takes a copy of the base.
  const buffer = Buffer.allocUnsafeSlow(Math.max(baseSize, newSize));
  await nars.fill(buffer.subarray(0, baseSize));
  const encoder = new DeltaEncoder(buffer.subarray(0, baseSize), newSize);
  try {
    await nars.fill(buffer.subarray(0, newSize));
    await nars.end();
    const delta = encoder.encode(buffer.subarray(0, newSize), maxSize);
    if (delta !== undefined) context.transfer(delta.buffer as ArrayBuffer);
    return delta;
  } finally {
    encoder.close();
  }
}

async function check(params: CheckParams, context: JobContext): Promise<boolean> {
  const base = Buffer.allocUnsafeSlow(params.baseSize);
  const nars = new StoredNars(params.baseSize, context);
  await nars.fill(base);
  await nars.end();
  const decoder = new DeltaDecoder(base);
  const hasher = new Hasher('sha256');
  try {
    for (const chunk of decoder.write(params.delta)) {
      hasher.update(chunk);
      if (hasher.size > params.newSize) return false;
    }
    decoder.end();
  } catch (error) {
    if (error instanceof LarderError) return false;
    throw error;
  } finally {
    decoder.close();
  }
  return Buffer.compare(hasher.digest().bytes, params.narHash) === 0;
}

/** What is in stored NARs, one after the other. */
class StoredNars {
  readonly #content: AsyncIterator<Uint8Array>;
  readonly #context: JobContext;
  /** Of the last chunk, what is not used yet. */
  #rest: Uint8Array = new Uint8Array();

  constructor(maxSize: number, context: JobContext) {
    this.#context = context;
    const content = decompress(context.input, 'zstd', { maxSize, lend: true, signal: context.signal });
    this.#content = content[Symbol.asyncIterator]();
  }

  async fill(buffer: Uint8Array): Promise<void> {
    for (let filled = 0; filled < buffer.length; ) {
      if (this.#rest.length === 0) {
        const next = await this.#content.next();
        if (next.done === true) throw notAsLong();
        this.#rest = next.value;
        await this.#context.breathe();
      }
      const part = this.#rest.subarray(0, buffer.length - filled);
      buffer.set(part, filled);
      filled += part.length;
      this.#rest = this.#rest.subarray(part.length);
    }
  }

  async end(): Promise<void> {
    if (this.#rest.length > 0 || (await this.#content.next()).done !== true) throw notAsLong();
  }
}

function notAsLong(): LarderError<'nar-size-mismatch'> {
  return new LarderError('nar-size-mismatch', 'the stored NARs are not as long as they were recorded');
}

serveJobs<DeltaJobs>({ make, check });
