import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ServerConfig } from '../config.js';
import type { RequestRecord } from '../http/request-record.js';
import type { Observer } from './observer.js';

export interface TracedRequest {
  readonly incoming: IncomingMessage;
  readonly outgoing: ServerResponse;
  readonly record: RequestRecord;
}

/** Where spans go. */
export interface Traces extends AsyncDisposable {
  /** Runs what answers a request within a span of its own. */
  request<T>(request: TracedRequest, handle: () => T): T;
  /** Notes work of the request that is running. */
  readonly observer: Observer;
}

/**
 * Opens what the configuration names. OpenTelemetry is loaded for that only: a server without traces pays nothing.
 * @returns `undefined` without `traces.endpoint`
 */
export async function openTraces({ traces }: ServerConfig): Promise<Traces | undefined> {
  if (traces.endpoint === undefined) return undefined;
  const { OtlpTraces } = await import('./otlp-traces.js');
  return new OtlpTraces({ ...traces, endpoint: traces.endpoint });
}
