import { setTimeout as delay } from 'node:timers/promises';
import { audit } from './audit.js';
import { SoakClient, Tally } from './client.js';
import { Cluster, LEASE } from './cluster.js';
import { Ledger } from './ledger.js';
import { collect, fetchPath, pull, pushReleases, query, readCollected, remove, type Work } from './work.js';

export interface SoakOptions {
  /** Seconds of load. */
  readonly seconds: number;
  /** Seconds between two faults. */
  readonly interval: number;
  readonly log?: (line: string) => void;
}

export interface SoakResult {
  /** Empty when all went well. */
  readonly faults: readonly string[];
  readonly requests: number;
  readonly retried: Readonly<Record<string, number>>;
  /** Seconds that the slowest request took, retries included. */
  readonly slowest: number;
  readonly pushed: number;
  readonly kept: number;
  readonly collections: number;
  readonly withdrawn: number;
  readonly kills: Readonly<Record<string, number>>;
  /** MB, of the replica that is not killed in the second half: at the quarters of that half. */
  readonly memory: readonly number[];
}

/** What a path that was pushed stays for at least, in seconds; what nothing pins goes a little later. */
const GRACE = 12;
/** Seconds a killed part is away. */
const DOWNTIME = 2;
/** How long it may take until nothing is left of the dead, in milliseconds. */
const SETTLING = 90_000;

/** Two replicas under load, while one thing after the other is killed; then everything is looked at. */
export async function soak({ seconds, interval, log = () => undefined }: SoakOptions): Promise<SoakResult> {
  await using cluster = await Cluster.start({ grace: GRACE, downtime: DOWNTIME });
  const tally = new Tally();
  const client = new SoakClient(cluster.balancer.url, cluster.token, tally);
  await client.request('/api/v1/caches/main', {
    method: 'PATCH',
    body: JSON.stringify({ retention: { unused: GRACE } }),
  });
  // A margin: clocks of the test and of the server are read at different times.
  const ledger = new Ledger((GRACE - 2) * 1000);
  const ending = new AbortController();
  const work: Work = { client, ledger, signal: ending.signal };
  const working = Promise.allSettled([
    ...['a', 'b', 'c'].map((name) => pushReleases(work, name)),
    ...[pull(work), pull(work), pull(work)],
    ...[query(work), remove(work), collect(work)],
  ]);
  const memory = new MemoryRecord(cluster, seconds);
  const kills = await breakThings(cluster, { seconds, interval, log });
  ending.abort();
  memory.stop();
  for (const result of await working)
    if (result.status === 'rejected') tally.faults.push(String(result.reason));
  log('the load is over; looking at everything');
  for (const { crashes } of cluster.replicas)
    tally.faults.push(...crashes.map((output) => `a replica ended by itself: ${output.slice(-3000)}`));
  await settle(cluster, tally, log);
  for (const path of ledger.kept) await fetchPath({ client, ledger }, path);
  return {
    faults: tally.faults,
    requests: tally.requests,
    retried: Object.fromEntries(tally.retried),
    slowest: tally.slowest / 1000,
    pushed: ledger.pushed,
    kept: ledger.kept.length,
    ...(await readCollected(client)),
    kills,
    memory: memory.quarters(),
  };
}

interface FaultOptions extends Required<Pick<SoakOptions, 'seconds' | 'interval' | 'log'>> {}

/** Kills one thing after the other; the first replica only in the first half: how its memory grows shows in the second. */
async function breakThings(
  { replicas, database, storage }: Cluster,
  { seconds, interval, log }: FaultOptions,
): Promise<Record<string, number>> {
  const started = Date.now();
  const elapsed = (): number => (Date.now() - started) / 1000;
  const kills: Record<string, number> = {};
  const faults: readonly (readonly [string, () => Promise<void> | undefined])[] = [
    ['second replica', () => replicas[1]?.end('SIGKILL')],
    ['first replica', () => (elapsed() < seconds / 2 ? replicas[0]?.end('SIGKILL') : undefined)],
    ['storage', () => storage.kill()],
    ['database', () => database.kill()],
    ['second replica, gracefully', () => replicas[1]?.end('SIGTERM')],
  ];
  for (let at = 0; elapsed() < seconds; at++) {
    await delay(Math.min(interval, Math.max(0, seconds - elapsed())) * 1000);
    const [name, run] = faults[at % faults.length] ?? ['', () => undefined];
    const running = elapsed() < seconds - interval / 2 ? run() : undefined;
    if (running === undefined) continue;
    log(`${elapsed().toFixed(0)} s: killing the ${name}`);
    await running;
    kills[name] = (kills[name] ?? 0) + 1;
  }
  return kills;
}

/** Waits until bucket and database agree: what the dead left is found when their leases lapsed. */
async function settle(cluster: Cluster, tally: Tally, log: (line: string) => void): Promise<void> {
  await delay(LEASE * 1500);
  // A replica that starts looks after what lapsed at once.
  await Promise.all(cluster.replicas.map((replica) => replica.end('SIGTERM')));
  await Promise.all(cluster.replicas.map((replica) => replica.ready()));
  const deadline = Date.now() + SETTLING;
  for (;;) {
    const faults = await audit(cluster);
    if (faults.length === 0) return;
    if (Date.now() > deadline) {
      tally.faults.push(...faults);
      return;
    }
    log(`${faults.length} things do not fit yet, such as: ${faults[0]}`);
    await delay(3000);
  }
}

/** The memory of the first replica over the second half of the run. */
class MemoryRecord {
  readonly #samples: { readonly at: number; readonly megabytes: number }[] = [];
  readonly #timer: NodeJS.Timeout;
  readonly #seconds: number;

  constructor(cluster: Cluster, seconds: number) {
    const started = Date.now();
    this.#seconds = seconds;
    this.#timer = setInterval(() => {
      void cluster.replicas[0]?.memory().then((megabytes) => {
        if (megabytes !== undefined) this.#samples.push({ at: (Date.now() - started) / 1000, megabytes });
      });
    }, 2000);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** The average of each quarter of the second half. */
  quarters(): number[] {
    const half = this.#seconds / 2;
    return [0, 1, 2, 3].flatMap((quarter) => {
      const from = half + (quarter * half) / 4;
      const within = this.#samples.filter(({ at }) => at >= from && at < from + half / 4);
      if (within.length === 0) return [];
      return [Math.round(within.reduce((sum, { megabytes }) => sum + megabytes, 0) / within.length)];
    });
  }
}
