import type { Logger } from 'pino';
import type { Database } from '../database/database.js';
import { updateTokenUse } from '../database/tables/tokens.js';

const INTERVAL = 10_000;

/** Remembers when tokens were last used, and writes that down now and then: no request waits for it. */
export class TokenUse {
  readonly #database: Database;
  readonly #logger: Logger;
  readonly #timer: NodeJS.Timeout;
  #used = new Map<number, number>();

  constructor(database: Database, logger: Logger) {
    this.#database = database;
    this.#logger = logger;
    this.#timer = setInterval(() => void this.flush(), INTERVAL);
    this.#timer.unref();
  }

  note(tokenId: number): void {
    this.#used.set(tokenId, Date.now());
  }

  async flush(): Promise<void> {
    const used = this.#used;
    if (used.size === 0) return;
    this.#used = new Map();
    try {
      await updateTokenUse(this.#database.write, used);
    } catch (error) {
      this.#logger.warn({ err: error }, 'cannot note the last use of tokens');
    }
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.flush();
  }
}
