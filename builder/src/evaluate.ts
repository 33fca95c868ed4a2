import { setFlagsFromString } from 'node:v8';
import { Worker } from 'node:worker_threads';
import { writeBytes, writeMessage } from './eval-host.js';
import { type RemoteCall, type RemoteMethods, serveCalls } from './eval-rpc.js';
import type { EvaluationOutcome } from './evaluation.js';
import { cacheFileOf, isCacheable, readCache, writeCache } from './evaluation-cache.js';
import type { ThreadData } from './evaluation-thread.js';
import type { EvaluationRequest } from './instantiate-request.js';
import type { EvaluationRecord } from './read-recorder.js';

/** Enough for a million nested calls; only what is used takes memory. */
const STACK_MEGABYTES = 1900;

/**
 * V8 optimises a function after it ran for so long, counted in bytes of its code. Its own figure, a third, is for programs
 * that run on: most evaluations are over before what was optimised has paid for that.
 */
const BYTES_BEFORE_OPTIMISING = 200_000;

/** Does for the evaluating thread what takes waiting: an object whose methods are called by name. */
export interface ServicesOfEvaluation extends RemoteMethods {
  /** Whether all these store paths, by base name, are valid. */
  areValid(storePaths: readonly string[]): Promise<boolean>;
}

/** How to evaluate. */
export interface EvaluateOptions {
  /** Gives the services, always the same ones. Many evaluations need none: they are asked for as late as can be. */
  readonly services: () => Promise<ServicesOfEvaluation>;
  /** Where results are kept; undefined to keep none. */
  readonly cacheDir: string | undefined;
  /** Gets what a captured evaluation would print, as bytes, one a character. */
  readonly onOutput?: (text: string) => void;
}

/**
 * Evaluates in a thread with a deep stack, which prints by itself, or gives again what the same evaluation gave
 * before if nothing that it read has changed. Gives the exit status.
 */
export async function evaluate(request: EvaluationRequest, options: EvaluateOptions): Promise<number> {
  const file =
    options.cacheDir !== undefined && isCacheable(request)
      ? cacheFileOf(options.cacheDir, request)
      : undefined;
  const known = file === undefined ? undefined : readCache(file, request);
  if (known !== undefined && (await holdsInStore(known, options))) {
    for (const message of known.messages) writeMessage(message, request.structuredLog);
    if (options.onOutput === undefined) writeBytes(1, known.output);
    else options.onOutput(known.output);
    return 0;
  }
  const { status, record, output } = await runThread(request, options.services);
  if (status === 0 && output !== undefined) options.onOutput?.(output);
  if (file !== undefined && record !== undefined) writeCache(file, record);
  return status;
}

async function holdsInStore(record: EvaluationRecord, options: EvaluateOptions): Promise<boolean> {
  if (record.validity.some(([, valid]) => !valid)) return false;
  const needed = [...record.added, ...record.validity.map(([path]) => path)];
  return needed.length === 0 || (await (await options.services()).areValid(needed));
}

function runThread(
  request: EvaluationRequest,
  services: EvaluateOptions['services'],
): Promise<EvaluationOutcome> {
  const signal = new SharedArrayBuffer(4);
  setFlagsFromString(`--interrupt-budget=${BYTES_BEFORE_OPTIMISING}`);
  const worker = new Worker(new URL('./evaluation-thread.js', import.meta.url), {
    workerData: { request, signal } satisfies ThreadData,
    resourceLimits: {
      stackSizeMb: STACK_MEGABYTES,
      maxOldGenerationSizeMb: 16_384,
      maxYoungGenerationSizeMb: 512,
    },
  });
  return new Promise((resolve, reject) => {
    let outcome: EvaluationOutcome = { status: 1, record: undefined };
    serveCalls(worker, signal, services);
    worker.on('message', (message: RemoteCall | { readonly done: EvaluationOutcome }) => {
      if ('done' in message) outcome = message.done;
    });
    worker.on('error', reject);
    worker.on('exit', () => resolve(outcome));
  });
}
