/** The worker module behind `DeltaMaker`: making a delta keeps a thread busy for seconds. */
import { decompress } from '@larder/signing/codec';
import { makeDelta } from '@larder/signing/delta';
import { LarderError } from '@larder/signing/errors';
import { type JobContext, serveJobs } from '@larder/signing/worker-jobs';

export interface DeltaParams {
  /** Bytes of the NARs, unpacked. */
  readonly baseSize: number;
  readonly newSize: number;
}

export type DeltaJobs = {
  /** The stored base and then the stored NAR in, which are zstd and so are one stream of zstd; the delta is the result. */
  readonly make: { readonly params: DeltaParams; readonly result: Uint8Array };
};

async function make({ baseSize, newSize }: DeltaParams, context: JobContext): Promise<Uint8Array> {
  const both = Buffer.allocUnsafeSlow(baseSize + newSize);
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
  const delta = makeDelta(both.subarray(0, baseSize), both.subarray(baseSize));
  context.transfer(delta.buffer as ArrayBuffer);
  return delta;
}

serveJobs<DeltaJobs>({ make });
