import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { HeldBody } from './body-memory.js';

/** What is known of a request while it runs: for its log line, and for answers that name it. */
export interface RequestRecord {
  readonly id: string;
  /** Milliseconds of the monotonic clock. */
  readonly started: number;
  /** What the request asks for, as it says: any name. */
  cache: string | undefined;
  /** The cache of that name, once the request was admitted to it. */
  admitted: string | undefined;
  /** The route that took it. */
  route: { readonly template: string; readonly isLookup: boolean } | undefined;
  /** The token that was presented. */
  token: { readonly id?: number; readonly name: string } | undefined;
  /** Whether a person asks: what goes wrong is told as a page. */
  isPage: boolean;
  /** Its body, where that is read whole, which takes memory until the request is over. */
  body: HeldBody | undefined;
  /** What went wrong, where the answer does not tell it all. */
  error: unknown;
}

const records = new WeakMap<IncomingMessage, RequestRecord>();

/** A record that only its maker knows of. An id that a proxy gave the request goes on. */
export function newRecord(incoming: IncomingMessage): RequestRecord {
  const given = incoming.headers['x-request-id'];
  const id = typeof given === 'string' && /^[\w.:-]{1,64}$/.test(given) ? given : randomUUID();
  // All of it at once: an object that grows later costs more than everything else about it.
  return {
    id,
    started: performance.now(),
    cache: undefined,
    admitted: undefined,
    route: undefined,
    token: undefined,
    isPage: false,
    body: undefined,
    error: undefined,
  };
}

/** Begins the record of a request, for all who meet the request. */
export function beginRecord(incoming: IncomingMessage): RequestRecord {
  const record = newRecord(incoming);
  records.set(incoming, record);
  return record;
}

export function recordOf(incoming: IncomingMessage): RequestRecord {
  return records.get(incoming) ?? beginRecord(incoming);
}
