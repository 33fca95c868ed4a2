import { LarderError } from '@larder/signing/errors';
import type { Dispatcher } from 'undici';
import { HttpError, statusErrorCode } from './http-error.js';
import { parseRetryAfter } from './retry.js';

/** What comes before an answer's body. */
export type AnswerHead = Pick<Dispatcher.ResponseData, 'statusCode' | 'headers'>;

export function header(response: AnswerHead, name: string): string | undefined {
  const value = response.headers[name];
  return Array.isArray(value) ? value[0] : value;
}

export function isRedirect(status: number): boolean {
  return status === 301 || status === 302 || status === 303 || status === 307 || status === 308;
}

export function isSuccess(status: number): boolean {
  return status >= 200 && status < 300;
}

/** The error that an answer's status stands for. */
export function refusal(
  answer: AnswerHead,
  details: { readonly method: string; readonly url: URL; readonly body: string | undefined },
): HttpError {
  const { statusCode: status } = answer;
  const retryAfter = parseRetryAfter(header(answer, 'retry-after'));
  return new HttpError(statusErrorCode(status), { ...details, status, retryAfter });
}

/** What fails for the connection's sake is that the cache cannot be reached. */
export async function unlessUnreachable<Answer>(
  exchange: Promise<Answer>,
  at: { readonly method: string; readonly url: URL; readonly signals: readonly (AbortSignal | undefined)[] },
): Promise<Answer> {
  const { method, url, signals } = at;
  try {
    return await exchange;
  } catch (error) {
    for (const signal of signals) signal?.throwIfAborted();
    if (error instanceof LarderError) throw error; // Ours, from making the body or for its length.
    throw new HttpError('cache-unreachable', { method, url, cause: error });
  }
}

/** At most this much of an error page is kept, in bytes. */
export const longestErrorText = 64 * 1024;

export async function readShortText(response: Dispatcher.ResponseData): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
    size += chunk.length;
    if (size > longestErrorText) break;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8').trim();
}
