import { LarderError } from '@larder/signing/errors';
import type { ErrorBody } from '@larder/signing/upload';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import { isOutage } from '../database/outage.js';

/** The one place where errors become statuses. Codes that are not here are faults of ours: 500. */
const STATUS: Readonly<Record<string, ContentfulStatusCode>> = {
  // The request is not one.
  'request-malformed': 400,
  'upload-malformed': 400,
  'body-truncated': 400,
  'narinfo-malformed': 400,
  'store-path-malformed': 400,
  'store-dir-malformed': 400,
  'hash-malformed': 400,
  'key-malformed': 400,
  'signature-malformed': 400,
  'content-address-malformed': 400,
  'content-address-unsupported': 400,
  'realisation-malformed': 400,
  'listing-malformed': 400,
  'cache-name-malformed': 400,
  'pin-name-malformed': 400,
  'token-malformed': 400,
  'storage-key-malformed': 400,
  'compression-unknown': 400,
  // It may not be made, or there is nothing there.
  unauthorized: 401,
  forbidden: 403,
  'not-found': 404,
  'method-not-allowed': 405,
  // It contradicts what is there.
  'references-missing': 409,
  'cache-exists': 409,
  'key-exists': 409,
  'key-last': 409,
  'key-in-use': 409,
  'pin-path-missing': 409,
  'path-kept': 409,
  'collection-running': 409,
  // Too much.
  'body-too-large': 413,
  'codec-too-large': 413,
  'quota-exceeded': 413,
  'range-not-satisfiable': 416,
  'too-many-requests': 429,
  // It is one, but what it carries is not what it says.
  'nar-malformed': 422,
  'codec-malformed': 422,
  'codec-truncated': 422,
  'nar-hash-mismatch': 422,
  'nar-size-mismatch': 422,
  'nar-file-mismatch': 422,
  'nar-missing': 422,
  'narinfo-mismatch': 422,
  'references-forged': 422,
  'references-cyclic': 422,
  'content-address-mismatch': 422,
  'delta-refused': 422,
  // It may do better later: clients retry these.
  'storage-failed': 503,
  'upstream-failed': 503,
  'database-failed': 503,
  'issuer-failed': 503,
  'worker-pool-closed': 503,
  'worker-crashed': 503,
  overloaded: 503,
  'shutting-down': 503,
  'lease-busy': 503,
  'lease-lost': 503,
};

export interface HttpError {
  readonly status: ContentfulStatusCode;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: ErrorBody;
}

/** What an error answers with. Faults of ours tell nothing of themselves but the request's id, which the log explains. */
export function describeError(error: unknown, requestId: string): HttpError {
  const status = error instanceof LarderError ? STATUS[error.code] : undefined;
  if (isOutage(error)) return unavailable('database-failed', requestId);
  if (!(error instanceof LarderError) || status === undefined) return internal(requestId);
  // Where the storage is and why it failed is for the log.
  if (status === 503) return unavailable(error.code, requestId);
  const headers: Record<string, string> = {
    ...(status === 401 ? { 'WWW-Authenticate': 'Basic realm="larder", charset="UTF-8"' } : {}),
    ...(status === 429 ? { 'Retry-After': String(error.fields.retryAfter) } : {}),
  };
  return {
    status,
    headers,
    body: { error: { ...error.fields, code: error.code, message: error.message, requestId } },
  };
}

function internal(requestId: string): HttpError {
  const message = `the server failed; its log has more under request ${requestId}`;
  return { status: 500, headers: {}, body: { error: { code: 'internal', message, requestId } } };
}

function unavailable(code: string, requestId: string): HttpError {
  const message = `the server cannot do this right now; try again, or see its log under request ${requestId}`;
  return {
    status: 503,
    headers: { 'Retry-After': '5' },
    body: { error: { code, message, requestId } },
  };
}
