import type { Logger } from 'pino';
import type { Database } from '../database/database.js';
import { touchPaths } from '../database/tables/paths.js';

/** How often what was noted is written down, in milliseconds. */
const INTERVAL = 30_000;
/** How precise the time of last use is, in milliseconds: a path that is fetched all the time is written once in so long. */
const RESOLUTION = 3_600_000;
/** Noted at once; more are written down early. */
const MAX_NOTED = 50_000;

/**
 * Remembers which paths were fetched, and writes it down now and then, many in one statement: a read costs an entry in a set.
 */
export class PathUse {
  readonly #database: Database;
  readonly #logger: Logger;
  readonly #resolution: number;
  readonly #timer: NodeJS.Timeout;
  #used = new Map<number, Set<string>>();
  #count = 0;

  constructor(
    database: Database,
    logger: Logger,
    options: { readonly interval?: number; readonly resolution?: number } = {},
  ) {
    this.#database = database;
    this.#logger = logger;
    this.#resolution = options.resolution ?? RESOLUTION;
    this.#timer = setInterval(() => void this.flush(), options.interval ?? INTERVAL);
    this.#timer.unref();
  }

  note(cacheId: number, hashPart: string): void {
    let used = this.#used.get(cacheId);
    if (used === undefined) {
      used = new Set();
      this.#used.set(cacheId, used);
    }
    if (used.has(hashPart)) return;
    used.add(hashPart);
    if (++this.#count >= MAX_NOTED) void this.flush();
  }

  async flush(): Promise<void> {
    if (this.#count === 0) return;
    const used = this.#used;
    this.#used = new Map();
    this.#count = 0;
    const now = Date.now();
    try {
      for (const [cacheId, hashParts] of used)
        await touchPaths(this.#database, cacheId, {
          hashParts: [...hashParts].sort(),
          now,
          before: now - this.#resolution,
        });
    } catch (error) {
      this.#logger.warn({ err: error }, 'cannot note the last use of paths');
    }
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.flush();
  }
}
