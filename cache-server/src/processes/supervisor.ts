import cluster, { type Worker } from 'node:cluster';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { LarderError } from '@larder/signing/errors';
import type { Logger } from 'pino';
import { AggregatorRegistry } from 'prom-client';
import { RateLimiterClusterMaster } from 'rate-limiter-flexible';
import { isOurs, type ToProcess, type ToSupervisor } from './messages.js';

/** A process that ends sooner than that, in milliseconds, is not started again at once. */
const SHORT_LIFE = 5000;

/**
 * Runs a server as several processes that share its address: each runs the same command line again, and is a replica like
 * any other. This one takes the connections and hands them out in turn, starts a process again that died, adds up
 * metrics and counts for rate limits. If it dies itself, they end.
 */
export class Supervisor {
  readonly #logger: Logger;
  readonly #registry = new AggregatorRegistry();
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
    for (const worker of Object.values(cluster.workers ?? {})) {
      if (worker === undefined) continue;
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

  async #answer(worker: Worker, request: number): Promise<void> {
    const text = await this.#registry.clusterMetrics().catch((error: unknown) => `# ${String(error)}\n`);
    if (worker.isConnected()) worker.send({ larder: 'metrics', request, text } satisfies ToProcess);
  }
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
