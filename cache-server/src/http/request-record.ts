import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';

/** What is known of a request while it runs: for its log line, and for answers that name it. */
export interface RequestRecord {
  readonly id: string;
  /** Milliseconds of the monotonic clock. */
  readonly started: number;
  /** What the request asks for, as it says: any name. */
  cache?: string;
  /** The cache of that name, once the request was admitted to it. */
  admitted?: string;
  /** The route that took it. */
  route?: { readonly template: string; readonly isLookup: boolean };
  /** The token that was presented. */
  token?: { readonly id?: number; readonly name: string };
  /** Whether a person asks: what goes wrong is told as a page. */
  isPage?: true;
  /** What went wrong, where the answer does not tell it all. */
  error?: unknown;
}

const records = new WeakMap<IncomingMessage, RequestRecord>();

/** Begins the record of a request. An id that a proxy gave it goes on. */
export function beginRecord(incoming: IncomingMessage): RequestRecord {
  const given = incoming.headers['x-request-id'];
  const id = typeof given === 'string' && /^[\w.:-]{1,64}$/.test(given) ? given : randomUUID();
  const record: RequestRecord = { id, started: performance.now() };
  records.set(incoming, record);
  return record;
}

export function recordOf(incoming: IncomingMessage): RequestRecord {
  return records.get(incoming) ?? beginRecord(incoming);
}
