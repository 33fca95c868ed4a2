import cluster, { type Worker } from 'node:cluster';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { LarderError } from '@larder/signing/errors';
import type { Logger } from 'pino';
import { AggregatorRegistry } from 'prom-client';
import { RateLimiterClusterMaster } from 'rate-limiter-flexible';
import { isOurs, type Measures, type ToProcess, type ToSupervisor } from './messages.js';

/** A process that ends sooner than that, in milliseconds, is not started again at once. */
const SHORT_LIFE = 5000;
/** How long one may take to tell what it measured, in milliseconds. */
const PATIENCE = 2000;

/**
 * Runs a server as several processes that share its address: each runs the same command line again, and is a replica like
 * any other. This one takes the connections and hands them out in turn, starts a process again that died, adds up
 * metrics and counts for rate limits. If it dies itself, they end.
 */
export class Supervisor {
  readonly #logger: Logger;
  readonly #measuring = new Map<number, (measures: Measures) => void>();
  #measurements = 0;
  readonly #running = new Set<Promise<void>>();
  /** Those that listen to what they are told. */
  readonly #serving = new WeakSet<Worker>();
  #isStopping = false;

  private constructor(logger: Logger) {
    this.#logger = logger;
    new RateLimiterClusterMaster();
    cluster.on('message', (worker, message: unknown) => {
      if (!isOurs<ToSupervisor>(message)) return;
      if (message.larder === 'metrics') void this.#answer(worker, message.request);
      else if (message.larder === 'measures') this.#measuring.get(message.request)?.(message.measures);
      else this.#serving.add(worker);
    });
  }

  /**
   * Starts so many processes. The first comes alone: it makes what is missing, tables and keys.
   * @param onServing gets the greeting of the first
   * @throws `server-failed` when the first does not come up; it has said why
   */
  static async start(
    count: number,
    { logger, onServing }: { readonly logger: Logger; readonly onServing: (greeting: string) => void },
  ): Promise<Supervisor> {
    const supervisor = new Supervisor(logger);
    const first = cluster.fork();
    const greeting = await greetingOf(first);
    onServing(greeting);
    supervisor.#watch(first);
    for (let at = 1; at < count; at++) supervisor.#watch(cluster.fork());
    return supervisor;
  }

  /** Has all of them finish what they do and end. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    for (const worker of workers()) {
      if (this.#serving.has(worker)) worker.send({ larder: 'stop' } satisfies ToProcess);
      else worker.process.kill('SIGTERM');
    }
    await Promise.all(this.#running);
  }

  #watch(worker: Worker): void {
    const running = this.#keepAlive(worker).finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  async #keepAlive(first: Worker): Promise<void> {
    for (let worker = first; ; worker = cluster.fork()) {
      const started = Date.now();
      const [code, signal] = (await once(worker, 'exit')) as [number | null, string | null];
      if (this.#isStopping) return;
      this.#logger.error(
        { pid: worker.process.pid, code, signal },
        'a process of the server died; it is started again',
      );
      if (Date.now() < started + SHORT_LIFE) await delay(SHORT_LIFE);
      if (this.#isStopping) return;
    }
  }

  /** What a process measured; nothing of one that does not answer in time. */
  #measure(worker: Worker): Promise<Measures> {
    const request = ++this.#measurements;
    return new Promise<Measures>((resolve) => {
      this.#measuring.set(request, resolve);
      setTimeout(() => resolve([]), PATIENCE).unref();
      worker.send({ larder: 'measure', request } satisfies ToProcess);
    }).finally(() => this.#measuring.delete(request));
  }

  async #answer(worker: Worker, request: number): Promise<void> {
    const asked = workers().filter((each) => this.#serving.has(each) && each.isConnected());
    const measures = await Promise.all(asked.map((each) => this.#measure(each)));
    const text = await AggregatorRegistry.aggregate(measures).metrics();
    if (worker.isConnected()) worker.send({ larder: 'metrics', request, text } satisfies ToProcess);
  }
}

function workers(): Worker[] {
  return Object.values(cluster.workers ?? {}).filter((worker) => worker !== undefined);
}

function greetingOf(worker: Worker): Promise<string> {
  return new Promise((resolve, reject) => {
    worker.on('message', (message: unknown) => {
      if (isOurs<ToSupervisor>(message) && message.larder === 'serving') resolve(message.greeting);
    });
    worker.once('exit', () => {
      reject(new LarderError('server-failed', 'the first process of the server did not come up'));
    });
  });
}
