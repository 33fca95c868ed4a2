import type { Logger } from 'pino';
import type { CacheDirectory } from '../caches/cache-directory.js';
import type { Database } from '../database/database.js';
import { addUsageDays, type UsageCounts, type UsageDaysTable } from '../database/tables/usage-days.js';

const INTERVAL = 10_000;
const DAY = 86_400_000;

/** A request that was answered. */
export interface UsedCache {
  /** Its name; whoever asked was let in. */
  readonly cache: string;
  readonly method: string;
  /** The route's template: `/{cache}/nar/{file}`. */
  readonly route: string;
  readonly status: number;
  /** Bytes of the connection that were its. */
  readonly sent: number;
  readonly received: number;
}

/** Counts what caches are used for, by day, in memory; and writes that down now and then: no request waits for it. */
export class UsageRecorder {
  readonly #database: Database;
  readonly #caches: CacheDirectory;
  readonly #logger: Logger;
  readonly #timer: NodeJS.Timeout;
  #counts = new Map<string, UsageCounts>();

  constructor(parts: {
    readonly database: Database;
    readonly caches: CacheDirectory;
    readonly logger: Logger;
  }) {
    this.#database = parts.database;
    this.#caches = parts.caches;
    this.#logger = parts.logger;
    this.#timer = setInterval(() => void this.flush(), INTERVAL);
    this.#timer.unref();
  }

  note(use: UsedCache): void {
    const kind = kindOf(use);
    if (kind === undefined) return;
    const key = `${Math.floor(Date.now() / DAY)} ${use.cache}`;
    let counts = this.#counts.get(key);
    if (counts === undefined) {
      counts = { lookups: 0, hits: 0, nars: 0, bytes_sent: 0, uploads: 0, bytes_received: 0 };
      this.#counts.set(key, counts);
    }
    if (kind === 'lookup') {
      counts.lookups++;
      if (use.status < 400) counts.hits++;
    } else if (use.status < 400) counts[kind === 'nar' ? 'nars' : 'uploads']++;
    counts.bytes_sent += use.sent;
    counts.bytes_received += use.received;
  }

  async flush(): Promise<void> {
    if (this.#counts.size === 0) return;
    const counted = this.#counts;
    this.#counts = new Map();
    try {
      const rows: UsageDaysTable[] = [];
      for (const [key, counts] of counted) {
        const [day = '', name = ''] = key.split(' ');
        const cache = await this.#caches.find(name);
        // A cache that was deleted meanwhile has no use any more.
        if (cache !== undefined) rows.push({ cache_id: cache.id, day: dayOf(Number(day) * DAY), ...counts });
      }
      await addUsageDays(this.#database.write, rows);
    } catch (error) {
      this.#logger.warn({ err: error }, 'cannot note what caches were used for');
    }
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.flush();
  }
}

/** The day of a time, UTC. */
export function dayOf(time: number): string {
  return new Date(time).toISOString().slice(0, 10);
}

/** Routes that count, by method and template. */
const KINDS: Readonly<Record<string, 'lookup' | 'nar' | 'upload'>> = {
  'GET /{cache}/{hash}.narinfo': 'lookup',
  'HEAD /{cache}/{hash}.narinfo': 'lookup',
  'GET /{cache}/nar/{file}': 'nar',
  'PUT /{cache}/nar/{file}': 'upload',
  'PUT /api/v1/caches/{cache}/nars/{narHash}': 'upload',
};

function kindOf({ method, route }: UsedCache): 'lookup' | 'nar' | 'upload' | undefined {
  return KINDS[`${method} ${route}`];
}
