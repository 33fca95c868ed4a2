import type { IncomingMessage } from 'node:http';
import { decompress } from '@larder/signing/codec';
import { isCompression } from '@larder/signing/compression';
import { ServerError } from '../errors.js';
import { CollectedBytes } from './collected-bytes.js';
import { recordOf } from './request-record.js';
import type { RouteContext } from './route.js';
import type { Services } from './services.js';

export interface BodyOptions {
  /** Bytes. */
  readonly limit: number;
  /** How long the client may stay silent, in milliseconds. */
  readonly idle: number;
  /** Ends the reading with its reason. */
  readonly lost?: AbortSignal;
}

/**
 * Bytes a second, on the average, from which on a client counts as slow rather than as one that only holds on to what it was
 * given: a modem of 1990 sent more.
 */
const SLOWEST = 1024;

/**
 * A request's body as it comes. Only the client's own silence counts as such: while the server is busy with what came, or
 * has not begun to read, a connection may be still as long as it takes. A byte now and then does not end a silence: each
 * earns the time that it would take at the slowest rate.
 * @throws `body-too-large`, `body-truncated`
 */
export async function* readBody(
  incoming: IncomingMessage,
  { limit, idle, lost }: BodyOptions,
): AsyncIterable<Uint8Array> {
  const declared = Number(incoming.headers['content-length'] ?? 0);
  if (declared > limit) throw tooLarge(limit);
  // Node sets its own again when the answer is out.
  incoming.socket.setTimeout(0);
  let size = 0;
  let silence = 0;
  const chunks = incoming.iterator({ destroyOnReturn: false });
  try {
    for (;;) {
      const began = performance.now();
      const earned = idle + (size / SLOWEST) * 1000 - silence;
      const next = await withinIdle(chunks.next(), { idle, patience: Math.min(idle, earned), lost });
      silence += performance.now() - began;
      if (next.done === true) break;
      const chunk = next.value as Buffer;
      size += chunk.length;
      if (size > limit) throw tooLarge(limit);
      yield chunk;
    }
  } catch (error) {
    if (isDisconnect(error))
      throw new ServerError('body-truncated', 'the upload ended before it was complete', { cause: error });
    throw error;
  } finally {
    // Lets go of the stream: what is not read is then passed over, and the connection is good for another request.
    chunks.return?.(undefined).catch(() => undefined);
  }
  if (!incoming.complete) throw new ServerError('body-truncated', 'the upload ended before it was complete');
}

interface Patience {
  readonly idle: number;
  readonly patience: number;
  readonly lost: AbortSignal | undefined;
}

async function withinIdle<T>(next: Promise<T>, { idle, patience, lost }: Patience): Promise<T> {
  lost?.throwIfAborted();
  let timer: NodeJS.Timeout | undefined;
  let giveWay: (() => void) | undefined;
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      const what = patience < idle ? 'next to nothing' : 'nothing';
      reject(new ServerError('body-truncated', `${what} of the upload came for ${idle / 1000} s`));
    }, patience);
    giveWay = () => reject(lost?.reason as Error);
    lost?.addEventListener('abort', giveWay, { once: true });
  });
  try {
    return await Promise.race([next, timeout]);
  } finally {
    clearTimeout(timer);
    if (giveWay !== undefined) lost?.removeEventListener('abort', giveWay);
  }
}

/**
 * Aborted when the client goes away: for what is waited for before its body is read. Until then the connection may be still.
 */
export function untilClosed(incoming: IncomingMessage): AbortSignal {
  const controller = new AbortController();
  incoming.socket.setTimeout(0);
  incoming.once('close', () => {
    if (!incoming.complete)
      controller.abort(new ServerError('body-truncated', 'the upload ended before it was complete'));
  });
  return controller.signal;
}

/**
 * A small body whole, with its Content-Encoding undone (newer Nix can compress narinfos, listings and logs). Its memory
 * counts with that of all others until its request is over (`app.ts`).
 * @throws `body-too-large`, `body-truncated`; `overloaded` when all of them are too much
 */
export async function collectBody(
  context: RouteContext,
  { bodies, config }: Pick<Services, 'bodies' | 'config'>,
  limit: number,
): Promise<Buffer> {
  const { incoming } = context.env;
  const encoding = incoming.headers['content-encoding'] ?? 'identity';
  const held = bodies.begin();
  recordOf(incoming).body = held;
  const body = readBody(incoming, { limit, idle: config.timeouts.idle, lost: held.lost });
  const collected = new CollectedBytes((bytes) => held.grow(bytes));
  try {
    for await (const chunk of decode(body, encoding, limit)) await collected.write(chunk);
  } catch (error) {
    // Whatever the decoder made of it.
    held.lost.throwIfAborted();
    throw error;
  }
  held.complete();
  return collected.take();
}

function decode(
  body: AsyncIterable<Uint8Array>,
  encoding: string,
  maxSize: number,
): AsyncIterable<Uint8Array> {
  if (encoding === 'identity' || encoding === '') return body;
  if (!isCompression(encoding))
    throw new ServerError('request-malformed', `the Content-Encoding '${encoding}' is not known`);
  return decompress(body, encoding, { maxSize });
}

function tooLarge(limit: number): ServerError {
  return new ServerError('body-too-large', `the body is larger than the ${limit} bytes allowed here`, {
    fields: { limit },
  });
}

function isDisconnect(error: unknown): boolean {
  return (
    error instanceof Error &&
    'code' in error &&
    (error.code === 'ECONNRESET' || error.code === 'ERR_STREAM_PREMATURE_CLOSE' || error.code === 'ABORT_ERR')
  );
}
