import { setTimeout as sleep } from 'node:timers/promises';
import { header } from './answer.js';
import { decodeBody } from './content-encoding.js';
import type { HttpClient, HttpResponse } from './http-client.js';
import { HttpError, isTransientHttpError } from './http-error.js';
import { retryDelay } from './retry.js';

export interface BodyOptions {
  readonly signal?: AbortSignal;
}

/**
 * A file's bytes. When the transfer breaks it goes on from where it was, by a range if the server grants one,
 * else from the start again without giving the same bytes twice. That the file is still the same is asked of
 * the server (`If-Range`) and proven by whoever checks the hash. Bytes arriving count as success: the tries are
 * counted anew after each.
 * @throws HttpError, also for a file that is not there (status 404)
 */
export async function* openResumable(
  client: HttpClient,
  url: URL,
  { signal }: BodyOptions = {},
): AsyncGenerator<Uint8Array, void, undefined> {
  let position = 0;
  let validator: string | undefined;
  for (let attempt = 1; ; attempt++) {
    const started = position;
    try {
      const response = await client.requestOnce(url, { headers: rangeHeaders(position, validator), signal });
      // A body that was encoded on the way has other bytes each time: no range of it means anything.
      validator = header(response, 'content-encoding') === undefined ? strongValidator(response) : undefined;
      let skip = position - startOf(response, url, position);
      for await (const chunk of client.speedOf(url).watch(decodeBody(response, signal))) {
        if (skip >= chunk.length) {
          skip -= chunk.length;
          continue;
        }
        const fresh = skip === 0 ? chunk : chunk.subarray(skip);
        skip = 0;
        position += fresh.length;
        yield fresh;
      }
      return;
    } catch (error) {
      signal?.throwIfAborted();
      const failure = asTransferError(error, url);
      if (position > started) attempt = 1;
      if (!isTransientHttpError(failure) || attempt >= client.attempts) throw failure;
      const delay = retryDelay(attempt, failure.retryAfter);
      client.noteRetry(failure, delay);
      await sleep(delay, undefined, { signal });
    }
  }
}

function rangeHeaders(position: number, validator: string | undefined): Record<string, string> {
  // NARs are compressed already; asking for none keeps ranges meaningful.
  const headers: Record<string, string> = { 'accept-encoding': 'identity' };
  if (position > 0 && validator !== undefined) {
    headers.range = `bytes=${position}-`;
    headers['if-range'] = validator;
  }
  return headers;
}

/** Names this very version of the file, for `If-Range`: a strong ETag, else its date. */
function strongValidator(response: HttpResponse): string | undefined {
  const etag = header(response, 'etag');
  if (etag !== undefined && !etag.startsWith('W/')) return etag;
  return header(response, 'last-modified');
}

/** The position in the file of the body's first byte. */
function startOf(response: HttpResponse, url: URL, position: number): number {
  if (response.statusCode !== 206) return 0;
  const range = header(response, 'content-range') ?? '';
  const start = Number(/^bytes (\d+)-/.exec(range)?.[1] ?? Number.NaN);
  if (start <= position) return start;
  throw new HttpError('cache-refused', {
    method: 'GET',
    url,
    status: 206,
    body: `asked for bytes from ${position}, the server sent "${range}"`,
  });
}

function asTransferError(error: unknown, url: URL): HttpError {
  if (error instanceof HttpError) return error;
  return new HttpError('cache-unreachable', { method: 'GET', url, cause: error });
}
