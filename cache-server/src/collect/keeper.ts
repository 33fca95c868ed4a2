import type { Logger } from 'pino';
import type { Cache } from '../caches/cache.js';
import type { CacheDirectory } from '../caches/cache-directory.js';
import type { Resigner } from '../publish/resigner.js';
import type { Collector } from './collector.js';
import { deleteExpiredNars, type ExpiredNarsOptions } from './expired-nars.js';
import { settleLapsed } from './lapsed.js';

/** How often there is a look at what is due, in milliseconds. */
const INTERVAL = 60_000;

export interface KeeperOptions extends ExpiredNarsOptions {
  readonly caches: CacheDirectory;
  readonly collector: Collector;
  readonly resigner: Resigner;
  /** Between two collections of a cache, in milliseconds; 0 for none but those asked for. */
  readonly interval: number;
  readonly logger: Logger;
}

/**
 * Looks after what is due, on one replica at a time: collections of caches with a retention, NARs whose time is up, objects
 * that holders of leases left behind when they died.
 */
export class Keeper {
  readonly #options: KeeperOptions;
  readonly #timer: NodeJS.Timeout;
  readonly #interrupt = new AbortController();
  #running: Promise<void> | undefined;

  private constructor(options: KeeperOptions) {
    this.#options = options;
    this.#timer = setInterval(() => this.#look(), INTERVAL);
    this.#timer.unref();
  }

  static start(options: KeeperOptions): Keeper {
    const keeper = new Keeper(options);
    keeper.#look();
    return keeper;
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#interrupt.abort();
    await this.#running;
  }

  #look(): void {
    // A round that takes longer than the interval is not joined by another.
    this.#running ??= this.#round()
      .catch((error: unknown) => {
        if (!this.#interrupt.signal.aborted)
          this.#options.logger.warn({ err: error }, 'cannot look after caches; the next round tries again');
      })
      .finally(() => {
        this.#running = undefined;
      });
  }

  async #round(): Promise<void> {
    const { leases, caches } = this.#options;
    const lease = await leases.tryTake(0, ['job/keep']);
    if (lease === undefined) return;
    await using _ = lease;
    await settleLapsed({ ...this.#options, caches: () => caches.list() });
    for (const cache of await caches.list()) {
      if (this.#interrupt.signal.aborted) break;
      await this.#lookAfter(cache);
    }
    await lease.release();
  }

  async #lookAfter(cache: Cache): Promise<void> {
    const { collector, resigner, interval, logger } = this.#options;
    const { signal } = this.#interrupt;
    const [newest] = await collector.list(cache, 1);
    const isDue = newest === undefined || newest.started_at < Date.now() - interval;
    if (newest !== undefined && newest.finished_at === null) await collector.resume(cache);
    else if (isDue && interval > 0 && cache.options.retention !== undefined)
      await collector.start(cache, { dryRun: false });
    await resigner.resume(cache);
    const deleted = await deleteExpiredNars(this.#options, cache, { signal });
    if (deleted.nars > 0) logger.info({ cache: cache.name, ...deleted }, 'deleted NARs that nothing needs');
  }
}
