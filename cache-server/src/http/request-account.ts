import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { hasCode, LarderError } from '@larder/signing/errors';
import type { ServerConfig } from '../config.js';
import type { RequestRecord } from './request-record.js';
import type { Services } from './services.js';

/** A request that is over, or whose whole answer is with the kernel. */
export interface EndedRequest {
  readonly incoming: IncomingMessage;
  readonly outgoing: ServerResponse;
  readonly record: RequestRecord;
}

export type Account = (request: EndedRequest) => void;

/** Writes requests down when they are over: in the log, in the metrics, and in what caches were used for. */
export function accountRequests(
  services: Pick<Services, 'config' | 'logger' | 'metrics' | 'usage'>,
): Account {
  return (request) => {
    log(request, services);
    measure(request, services);
  };
}

function log(
  { incoming, outgoing, record }: EndedRequest,
  { config, logger }: Pick<Services, 'config' | 'logger'>,
): void {
  const status = outgoing.statusCode;
  const isFault = record.error !== undefined && status >= 500 && !hasCode(record.error, 'overloaded');
  if (!isFault && !isWanted(config.log.requests, incoming.method ?? '')) return;
  // Without spreading: it costs more than writing the line.
  const line: Record<string, unknown> = {
    request: record.id,
    method: incoming.method,
    url: incoming.url,
    status,
    ms: Math.round((performance.now() - record.started) * 10) / 10,
  };
  if (!isWhole(outgoing)) line.cut = true;
  if (record.cache !== undefined) line.cache = record.cache;
  if (record.token !== undefined) line.token = record.token.id ?? record.token.name;
  if (record.error !== undefined) Object.assign(line, describe(record.error, isFault));
  if (isFault) logger.error(line, 'request failed');
  else logger.info(line, 'request');
}

/** Not so when the client went away, or we did. */
function isWhole(outgoing: ServerResponse): boolean {
  return outgoing.destroyed ? outgoing.writableFinished : outgoing.writableEnded;
}

function isWanted(which: ServerConfig['log']['requests'], method: string): boolean {
  if (which === 'all') return true;
  return which === 'writes' && method !== 'GET' && method !== 'HEAD';
}

function describe(error: unknown, isFault: boolean): Readonly<Record<string, unknown>> {
  if (isFault) return { err: error };
  return { code: error instanceof LarderError ? error.code : 'internal' };
}

/** What of a connection's bytes earlier requests account for: a request's first bytes are read before it is seen. */
const counted = new WeakMap<Socket, { received: number; sent: number }>();

function measure(
  { incoming, outgoing, record }: EndedRequest,
  { metrics, usage }: Pick<Services, 'metrics' | 'usage'>,
): void {
  const { socket } = incoming;
  const before = counted.get(socket) ?? { received: 0, sent: 0 };
  if (before.received === 0) counted.set(socket, before);
  const { bytesRead, bytesWritten } = socket;
  const received = bytesRead - before.received;
  const sent = bytesWritten - before.sent;
  before.received = bytesRead;
  before.sent = bytesWritten;
  const method = incoming.method ?? '';
  const status = outgoing.statusCode;
  const { admitted: cache, route } = record;
  if (cache !== undefined && route !== undefined)
    usage.note({ cache, method, route: route.template, status, sent, received });
  metrics?.request({
    method,
    route: route?.template ?? 'none',
    status,
    seconds: (performance.now() - record.started) / 1000,
    cache,
    isLookup: route?.isLookup ?? false,
    received,
    sent,
  });
}
