/** The worker module behind `DeltaMaker`: making a delta keeps a thread busy for seconds. */
import { decompress } from '@larder/signing/codec';
import { DeltaDecoder, makeDelta } from '@larder/signing/delta';
import { LarderError } from '@larder/signing/errors';
import { Hasher } from '@larder/signing/hash';
import { type JobContext, serveJobs } from '@larder/signing/worker-jobs';

export interface DeltaParams {
  /** Bytes of the NARs, unpacked. */
  readonly baseSize: number;
  readonly newSize: number;
}

export type DeltaJobs = {
  /** The stored base and then the stored NAR in, which are zstd and so are one stream of zstd; the delta is the result. */
  readonly make: { readonly params: DeltaParams; readonly result: Uint8Array };
  /** The stored base in; whether the delta gives the NAR with this hash. */
  readonly check: { readonly params: CheckParams; readonly result: boolean };
};

export interface CheckParams extends DeltaParams {
  readonly delta: Uint8Array;
  /** SHA-256. */
  readonly narHash: Uint8Array;
}

async function make({ baseSize, newSize }: DeltaParams, context: JobContext): Promise<Uint8Array> {
  const both = await readNars(baseSize + newSize, context);
  const delta = makeDelta(both.subarray(0, baseSize), both.subarray(baseSize));
  context.transfer(delta.buffer as ArrayBuffer);
  return delta;
}

async function check(params: CheckParams, context: JobContext): Promise<boolean> {
  const decoder = new DeltaDecoder(await readNars(params.baseSize, context));
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

/** Stored NARs, one after the other. */
async function readNars(size: number, context: JobContext): Promise<Buffer> {
  const both = Buffer.allocUnsafeSlow(size);
  let filled = 0;
  const content = decompress(context.input, 'zstd', {
    maxSize: both.length,
    lend: true,
    signal: context.signal,
  });
  for await (const chunk of content) {
    both.set(chunk, filled);
    filled += chunk.length;
    await context.breathe();
  }
  if (filled !== both.length)
    throw new LarderError('nar-size-mismatch', 'the stored NARs are not as long as they were recorded');
  return both;
}

serveJobs<DeltaJobs>({ make, check });
