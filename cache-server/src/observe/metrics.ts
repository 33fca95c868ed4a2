import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { askForMetrics, shareMeasures } from '../processes/supervised.js';
import type { Observer } from './observer.js';

/** Seconds. Memory answers in microseconds, S3 in tenths, uploads in minutes. */
const BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60];

/** A request that is over. */
export interface MeasuredRequest {
  readonly method: string;
  /** Its template; `none` where no route took it. */
  readonly route: string;
  readonly status: number;
  readonly seconds: number;
  /** The cache it had to do with, once it was admitted to it: names that strangers make up must not become series. */
  readonly cache?: string | undefined;
  /** Whether something of a cache was looked up. */
  readonly isLookup: boolean;
  /** Bytes that went over the socket. */
  readonly received: number;
  readonly sent: number;
}

/** Requests of one kind since counters last heard of them. */
interface Tally extends Omit<MeasuredRequest, 'seconds'> {
  requests: number;
  received: number;
  sent: number;
}

/** What Prometheus is told: https://prometheus.io/docs/practices/naming/ */
export class Metrics {
  readonly registry = new Registry();
  readonly #requests = new Counter({
    name: 'larder_http_requests_total',
    help: 'Requests answered',
    labelNames: ['method', 'route', 'status'],
    registers: [this.registry],
  });
  readonly #seconds = new Histogram({
    name: 'larder_http_request_seconds',
    help: 'Time from a request to the end of its answer',
    labelNames: ['method', 'route'],
    buckets: BUCKETS,
    registers: [this.registry],
  });
  readonly #received = new Counter({
    name: 'larder_received_bytes_total',
    help: 'Bytes received from clients, by cache',
    labelNames: ['cache'],
    registers: [this.registry],
  });
  readonly #sent = new Counter({
    name: 'larder_sent_bytes_total',
    help: 'Bytes sent to clients, by cache',
    labelNames: ['cache'],
    registers: [this.registry],
  });
  readonly #lookups = new Counter({
    name: 'larder_lookups_total',
    help: 'What clients asked caches for, and whether it was there (hit, miss)',
    labelNames: ['cache', 'route', 'result'],
    registers: [this.registry],
  });
  readonly #storage = new Histogram({
    name: 'larder_storage_seconds',
    help: 'Operations of the storage; of reads, till the first byte',
    labelNames: ['operation', 'result'],
    buckets: BUCKETS,
    registers: [this.registry],
  });
  readonly #database = new Histogram({
    name: 'larder_database_seconds',
    help: 'Queries of the database, by kind',
    labelNames: ['kind', 'result'],
    buckets: BUCKETS,
    registers: [this.registry],
  });
  readonly #uploads = new Counter({
    name: 'larder_nars_received_total',
    help: 'NARs that were uploaded, verified and stored',
    labelNames: ['cache'],
    registers: [this.registry],
  });
  readonly #uploadBytes = new Counter({
    name: 'larder_nar_bytes_total',
    help: 'Their bytes, unpacked and as they are stored',
    labelNames: ['cache', 'form'],
    registers: [this.registry],
  });
  readonly #overloads = new Counter({
    name: 'larder_overloads_total',
    help: 'Requests answered with 503 because bodies (body) or uploads (upload) took all the memory they may',
    labelNames: ['by'],
    registers: [this.registry],
  });

  constructor() {
    collectDefaultMetrics({ register: this.registry });
  }

  #isShared = false;
  /** By all that tells them apart: each counter with labels looks them up by a text of its own, for every request. */
  readonly #tallies = new Map<string, Tally>();

  /** From now on, what this process measures counts together with the others of the same server. */
  share(): void {
    this.#isShared = true;
    shareMeasures(() => {
      this.#settle();
      return this.registry.getMetricsAsJSON();
    });
  }

  /** In the text format of Prometheus. */
  text(): Promise<string> {
    if (this.#isShared) return askForMetrics();
    this.#settle();
    return this.registry.metrics();
  }

  /** For the storage and the database. */
  readonly observer: Observer = {
    storage: (operation, seconds, failed) =>
      this.#storage.observe({ operation, result: resultOf(failed) }, seconds),
    database: (kind, seconds, failed) => this.#database.observe({ kind, result: resultOf(failed) }, seconds),
  };

  request({ method, route, status, seconds, cache, isLookup, received, sent }: MeasuredRequest): void {
    this.#seconds.observe({ method, route }, seconds);
    const key = `${method} ${status} ${route} ${cache ?? ''}`;
    let tally = this.#tallies.get(key);
    if (tally === undefined) {
      tally = { method, route, status, cache, isLookup, requests: 0, received: 0, sent: 0 };
      this.#tallies.set(key, tally);
    }
    tally.requests++;
    tally.received += received;
    tally.sent += sent;
  }

  /** Counts what was tallied. */
  #settle(): void {
    for (const {
      method,
      route,
      status,
      cache,
      isLookup,
      requests,
      received,
      sent,
    } of this.#tallies.values()) {
      this.#requests.inc({ method, route, status }, requests);
      this.#received.inc({ cache: cache ?? '' }, received);
      this.#sent.inc({ cache: cache ?? '' }, sent);
      if (!isLookup || cache === undefined) continue;
      if (status === 404) this.#lookups.inc({ cache, route, result: 'miss' }, requests);
      else if (status < 400) this.#lookups.inc({ cache, route, result: 'hit' }, requests);
    }
    this.#tallies.clear();
  }

  narReceived(
    cache: string,
    { narSize, fileSize }: { readonly narSize: number; readonly fileSize: number },
  ): void {
    this.#uploads.inc({ cache });
    this.#uploadBytes.inc({ cache, form: 'unpacked' }, narSize);
    this.#uploadBytes.inc({ cache, form: 'stored' }, fileSize);
  }

  /** A request was turned away because there was no memory for it. */
  overloaded(by: 'body' | 'upload'): void {
    this.#overloads.inc({ by });
  }

  /** A number that is read whenever someone asks. */
  gauge(name: string, help: string, read: () => number): void {
    new Gauge({
      name,
      help,
      registers: [this.registry],
      collect() {
        this.set(read());
      },
    });
  }
}

function resultOf(failed: boolean): string {
  return failed ? 'error' : 'ok';
}
