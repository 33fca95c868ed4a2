import { threadId } from 'node:worker_threads';
import { LarderError } from './errors.js';
import { type JobContext, serveJobs } from './worker-jobs.js';

/** The jobs that worker-pool's tests run. */
export type SampleJobs = {
  readonly add: { readonly params: { readonly a: number; readonly b: number }; readonly result: number };
  readonly echo: { readonly params: null; readonly result: { readonly size: number } };
  readonly emit: { readonly params: { readonly size: number }; readonly result: null };
  readonly fail: { readonly params: { readonly kind: 'larder' | 'system' | 'text' }; readonly result: null };
  readonly crash: { readonly params: { readonly how: 'throw' | 'exit' }; readonly result: null };
  readonly spin: { readonly params: null; readonly result: null };
  readonly thread: { readonly params: null; readonly result: { readonly id: number } };
  readonly fill: { readonly params: { readonly bytes: Uint8Array }; readonly result: Uint8Array };
};

serveJobs<SampleJobs>({ add, echo, emit, fail, crash, spin, thread, fill });

async function add({ a, b }: { readonly a: number; readonly b: number }): Promise<number> {
  return a + b;
}

async function thread(): Promise<{ readonly id: number }> {
  return { id: threadId };
}

async function echo(_: null, context: JobContext): Promise<{ readonly size: number }> {
  let size = 0;
  for await (const chunk of context.input) {
    size += chunk.length;
    await context.write(chunk);
  }
  return { size };
}

async function emit({ size }: { readonly size: number }, context: JobContext): Promise<null> {
  const chunk = Buffer.alloc(100_000, 7);
  for (let left = size; left > 0; left -= chunk.length) await context.write(chunk.subarray(0, left));
  return null;
}

async function fail({ kind }: { readonly kind: 'larder' | 'system' | 'text' }): Promise<null> {
  if (kind === 'larder') {
    const cause = new RangeError('too far');
    throw new LarderError('sample-failed', 'it failed', { fields: { path: '/x', at: 3 }, cause });
  }
  if (kind === 'system')
    throw Object.assign(new Error('no'), { code: 'ENOENT', errno: -2, syscall: 'open', path: '/x' });
  // eslint-disable-next-line @typescript-eslint/only-throw-error -- what a careless library may do
  throw 'just text';
}

async function crash({ how }: { readonly how: 'throw' | 'exit' }): Promise<null> {
  if (how === 'exit') process.exit(3);
  setTimeout(() => {
    throw new Error('out of the blue');
  });
  return new Promise(() => {});
}

async function spin(_: null, context: JobContext): Promise<null> {
  for (;;) await context.breathe();
}

async function fill({ bytes }: { readonly bytes: Uint8Array }, context: JobContext): Promise<Uint8Array> {
  bytes.fill(9);
  context.transfer(bytes.buffer as ArrayBuffer);
  return bytes;
}
