import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import { ServerError } from '../errors.js';
import type { ByteRange, ObjectStorage, StoredObject } from '../storage/storage.js';

export interface SendOptions {
  readonly headers: Readonly<Record<string, string>>;
  /** With quotes; none for what may change under its name. */
  readonly etag?: string;
}

/** The two ends of a request, below Hono. */
export interface Exchange {
  readonly incoming: IncomingMessage;
  readonly outgoing: ServerResponse;
}

/**
 * Sends an object of the storage, or the range of it that was asked for. The bytes go from file or socket to the response
 * without passing through web streams, which cost more than all else of it.
 * @returns `undefined` when there is no such object: nothing was sent
 * @throws `range-not-satisfiable`
 */
export async function sendObject(
  storage: ObjectStorage,
  key: string,
  { incoming, outgoing, headers, etag }: Exchange & SendOptions,
): Promise<Response | undefined> {
  const { range: rangeHeader } = incoming.headers;
  const isHead = incoming.method === 'HEAD';
  const common = { ...headers, 'Accept-Ranges': 'bytes', ...(etag === undefined ? {} : { ETag: etag }) };
  if (isHead || rangeHeader !== undefined) {
    const info = await storage.head(key);
    if (info === undefined) return undefined;
    const range = isHead ? undefined : parseRange(rangeHeader, info.size, { incoming, etag });
    if (range !== undefined) return sendRange(storage, key, { incoming, outgoing, headers: common, range });
    if (isHead) {
      outgoing.writeHead(200, { ...common, 'Content-Length': info.size });
      outgoing.end();
      return RESPONSE_ALREADY_SENT;
    }
  }
  await using object = await storage.get(key);
  if (object === undefined) return undefined;
  outgoing.writeHead(200, { ...common, 'Content-Length': object.size });
  await deliver(object, outgoing);
  return RESPONSE_ALREADY_SENT;
}

/** Sends what is made on the way, by chunks. What fails in the middle cuts the connection: the client sees it broke off. */
export async function sendStream(
  body: AsyncIterable<Uint8Array>,
  { outgoing, headers }: Pick<Exchange & SendOptions, 'outgoing' | 'headers'>,
): Promise<Response> {
  outgoing.writeHead(200, headers);
  await pump(body, outgoing);
  return RESPONSE_ALREADY_SENT;
}

async function sendRange(
  storage: ObjectStorage,
  key: string,
  { outgoing, headers, range }: Exchange & SendOptions & { readonly range: ByteRange },
): Promise<Response | undefined> {
  await using object = await storage.get(key, { range });
  if (object === undefined) return undefined;
  outgoing.writeHead(206, {
    ...headers,
    'Content-Length': range.end - range.start + 1,
    'Content-Range': `bytes ${range.start}-${range.end}/${object.size}`,
  });
  await deliver(object, outgoing);
  return RESPONSE_ALREADY_SENT;
}

/** Bytes that are made as they are read, with their number known before. */
export interface ReadableBytes {
  readonly size: number;
  readonly read: (range: ByteRange) => AsyncIterable<Uint8Array>;
}

/** Sends such bytes, or the range of them that was asked for. @throws `range-not-satisfiable` */
export async function sendBytes(
  { size, read }: ReadableBytes,
  { incoming, outgoing, headers, etag }: Exchange & SendOptions,
): Promise<Response> {
  const common = { ...headers, 'Accept-Ranges': 'bytes', ...(etag === undefined ? {} : { ETag: etag }) };
  if (etag !== undefined && matchesEtag(incoming.headers['if-none-match'], etag)) {
    outgoing.writeHead(304, common).end();
    return RESPONSE_ALREADY_SENT;
  }
  const asked = size === 0 ? undefined : parseRange(incoming.headers.range, size, { incoming, etag });
  const { start, end } = asked ?? { start: 0, end: size - 1 };
  outgoing.writeHead(asked === undefined ? 200 : 206, {
    ...common,
    'Content-Length': end - start + 1,
    ...(asked === undefined ? {} : { 'Content-Range': `bytes ${start}-${end}/${size}` }),
  });
  if (incoming.method === 'HEAD' || size === 0) outgoing.end();
  else await pump(read({ start, end }), outgoing);
  return RESPONSE_ALREADY_SENT;
}

/** By the storage's own way, where it has one. */
function deliver(object: StoredObject, outgoing: ServerResponse): Promise<void> {
  if (object.sendTo === undefined) return pump(object.body, outgoing);
  return minding(outgoing, async () => {
    await object.sendTo?.(outgoing);
    outgoing.end();
  });
}

async function pump(body: AsyncIterable<Uint8Array>, outgoing: ServerResponse): Promise<void> {
  await minding(outgoing, () => pipeline(body instanceof Readable ? body : Readable.from(body), outgoing));
}

/** A client that goes away in the middle is no fault of anyone's. */
async function minding(outgoing: ServerResponse, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!outgoing.destroyed) outgoing.destroy();
    if (!isGone(error)) throw error;
  }
}

const GONE: ReadonlySet<unknown> = new Set([
  ...['ERR_STREAM_PREMATURE_CLOSE', 'ERR_STREAM_DESTROYED'],
  ...['EPIPE', 'ECONNRESET', 'ECONNABORTED', 'ECANCELED'],
]);

function isGone(error: unknown): boolean {
  return error instanceof Error && 'code' in error && GONE.has(error.code);
}

/**
 * One range of bytes (RFC 9110, 14.1.2). Several, other units and an `If-Range` that does not hold mean the whole object.
 * @throws `range-not-satisfiable`
 */
export function parseRange(
  header: string | undefined,
  size: number,
  condition: { readonly incoming: Pick<IncomingMessage, 'headers'>; readonly etag: string | undefined },
): ByteRange | undefined {
  const ifRange = condition.incoming.headers['if-range'];
  if (ifRange !== undefined && ifRange !== condition.etag) return undefined;
  const match = /^bytes=(?:(\d+)-(\d*)|-(\d+))$/.exec(header ?? '');
  if (match === null) return undefined;
  const [, first, last, suffix] = match;
  const start = first === undefined ? Math.max(0, size - Number(suffix)) : Number(first);
  const end = first === undefined || last === '' ? size - 1 : Math.min(Number(last), size - 1);
  if (first !== undefined && last !== '' && Number(last) < start) return undefined;
  if (start >= size || suffix === '0')
    throw new ServerError('range-not-satisfiable', `the object has ${size} bytes`, { fields: { size } });
  return { start, end };
}

/** Whether an `If-None-Match` names this etag (weak comparison). */
export function matchesEtag(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false;
  return header.trim() === '*' || header.split(',').some((each) => each.trim().replace(/^W\//, '') === etag);
}
