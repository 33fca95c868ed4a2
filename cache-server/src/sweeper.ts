import { deletePendingBefore } from './database/tables/pending-paths.js';
import { deleteIssuedTokensBefore } from './database/tables/tokens.js';
import { collectDeltas } from './deltas/delta-retention.js';
import type { Leases } from './leases/leases.js';
import type { Foundation } from './start.js';

const INTERVAL = 3_600_000;
/** How long the list of tokens shows those of ID tokens after they expired. */
const ISSUED_TOKENS_KEPT = 24 * INTERVAL;

/** Removes, at start and every hour, what uploads that died left behind; one replica at a time. */
export class Sweeper {
  readonly #foundation: Foundation;
  readonly #leases: Leases;
  readonly #timer: NodeJS.Timeout;
  #running: Promise<void>;

  private constructor(foundation: Foundation, leases: Leases) {
    this.#foundation = foundation;
    this.#leases = leases;
    this.#running = this.#sweep();
    this.#timer = setInterval(() => {
      this.#running = this.#running.then(() => this.#sweep());
    }, INTERVAL);
    this.#timer.unref();
  }

  static start(foundation: Foundation, leases: Leases): Sweeper {
    return new Sweeper(foundation, leases);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#running;
  }

  async #collectDeltas(): Promise<number> {
    const { config, storage, database, caches } = this.#foundation;
    const retention = { keep: config.deltas.keep, maxSize: config.deltas.max_size };
    let dropped = 0;
    for (const cache of await caches.list())
      dropped += await collectDeltas({ database, storage, retention }, cache);
    return dropped;
  }

  async #sweep(): Promise<void> {
    const { config, storage, database, logger } = this.#foundation;
    try {
      const lease = await this.#leases.tryTake(0, ['job/sweep']);
      if (lease === undefined) return;
      await using _ = lease;
      const orphans = await storage.sweep(new Date(Date.now() - config.uploads.orphans));
      const pending = await deletePendingBefore(database.write, Date.now() - config.uploads.pending);
      const deltas = await this.#collectDeltas();
      if (deltas > 0) logger.info({ deltas }, 'dropped deltas that are of no use');
      await deleteIssuedTokensBefore(database.write, Date.now() - ISSUED_TOKENS_KEPT);
      if (orphans + pending > 0) logger.info({ orphans, pending }, 'swept what uploads left behind');
      await lease.release();
    } catch (error) {
      // It is only about space: the next round tries again.
      logger.warn({ err: error }, 'cannot sweep');
    }
  }
}
