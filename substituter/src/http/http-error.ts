import { LarderError } from '@larder/signing/errors';

/** What a failed exchange with a server means for the caller. */
export type HttpErrorCode =
  /** No answer, a broken one, or one that may be better later (408, 429, most of 5xx). */
  | 'cache-unreachable'
  /** 401 and 407: the login is wrong or missing. */
  | 'cache-unauthorized'
  /** Any other refusal. */
  | 'cache-refused';

export interface HttpErrorDetails {
  readonly method: string;
  readonly url: URL;
  readonly status?: number;
  readonly retryAfter?: number;
  /** What the server said, shortened. */
  readonly body?: string;
  readonly cause?: unknown;
}

/** An HTTP exchange that failed. The message names the URL without its login. */
export class HttpError extends LarderError<HttpErrorCode> {
  readonly status: number | undefined;
  /** Milliseconds the server asked us to wait. */
  readonly retryAfter: number | undefined;
  /** The answer's body, if it was short text. */
  readonly body: string | undefined;

  constructor(code: HttpErrorCode, details: HttpErrorDetails) {
    const url = shownUrl(details.url);
    super(code, `${details.method} ${url}: ${describe(code, details)}`, {
      cause: details.cause,
      fields: { url, status: details.status },
    });
    this.status = details.status;
    this.retryAfter = details.retryAfter;
    this.body = details.body;
  }

  get isTransient(): boolean {
    return this.code === 'cache-unreachable';
  }
}

export function isTransientHttpError(error: unknown): boolean {
  return error instanceof HttpError && error.isTransient;
}

/** The error for an answer's status, by the rules that Nix follows (its manual has none; its source does). */
export function statusErrorCode(status: number): HttpErrorCode {
  if (status === 401 || status === 407) return 'cache-unauthorized';
  if (status === 408 || status === 429) return 'cache-unreachable';
  // Not implemented, HTTP version not supported, and a captive portal: the same again would not help.
  if (status === 501 || status === 505 || status === 511) return 'cache-refused';
  return status >= 500 ? 'cache-unreachable' : 'cache-refused';
}

/** A URL for messages: without login and query, either of which may hold a secret. */
export function shownUrl(url: URL): string {
  return `${url.protocol}//${url.host}${url.pathname}`;
}

function describe(code: HttpErrorCode, { status, body, cause }: HttpErrorDetails): string {
  if (status === undefined) return `no answer (${causeText(cause)})`;
  const said = body === undefined || body === '' ? '' : `: ${body.slice(0, 300)}`;
  if (code === 'cache-unauthorized') {
    return `the server wants a login (status ${status}); put it into the netrc file, or give --token-file${said}`;
  }
  return `status ${status}${said}`;
}

function causeText(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  // A refused connection to several addresses comes as an error of errors without a message of its own.
  const inner = cause instanceof AggregateError ? (cause.errors[0] as Error) : cause;
  return inner.message || (inner as NodeJS.ErrnoException).code || inner.name;
}
