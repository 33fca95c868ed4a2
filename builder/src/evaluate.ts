import { Worker } from 'node:worker_threads';
import { type RemoteCall, type RemoteMethods, serveCalls } from './eval-rpc.js';
import type { ThreadData } from './evaluation-thread.js';
import type { EvaluationRequest } from './instantiate-request.js';

/** Enough for a million nested calls; only what is used takes memory. */
const STACK_MEGABYTES = 1900;

/**
 * Evaluates in a thread with a deep stack. It prints by itself; `services` do for it what takes waiting.
 * Gives the exit status.
 */
export async function evaluate(request: EvaluationRequest, services: RemoteMethods): Promise<number> {
  const signal = new SharedArrayBuffer(4);
  const worker = new Worker(new URL('./evaluation-thread.js', import.meta.url), {
    workerData: { request, signal } satisfies ThreadData,
    resourceLimits: {
      stackSizeMb: STACK_MEGABYTES,
      maxOldGenerationSizeMb: 16_384,
      maxYoungGenerationSizeMb: 512,
    },
    stdin: false,
  });
  return new Promise((resolve, reject) => {
    let status = 1;
    serveCalls(worker, signal, services);
    worker.on('message', (message: RemoteCall | { readonly done: number }) => {
      if ('done' in message) status = message.done;
    });
    worker.on('error', reject);
    worker.on('exit', () => resolve(status));
  });
}
