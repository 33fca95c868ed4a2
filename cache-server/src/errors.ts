import { type ErrorFields, LarderError } from '@larder/signing/errors';

/** What can go wrong in the server, by cause; `http/errors.ts` says which status each answers with. */
export type ServerErrorCode =
  | 'config-malformed'
  | 'database-failed'
  | 'database-not-empty'
  | 'dump-malformed'
  | 'storage-failed'
  | 'storage-key-malformed'
  | 'key-unsealable'
  | 'not-found'
  | 'unauthorized'
  | 'issuer-failed'
  | 'too-many-requests'
  | 'forbidden'
  | 'method-not-allowed'
  | 'request-malformed'
  | 'range-not-satisfiable'
  | 'body-too-large'
  | 'body-truncated'
  | 'nar-hash-mismatch'
  | 'nar-size-mismatch'
  | 'nar-file-mismatch'
  | 'nar-missing'
  | 'narinfo-mismatch'
  | 'references-missing'
  | 'references-forged'
  | 'references-cyclic'
  | 'content-address-mismatch'
  | 'cache-exists'
  | 'key-exists'
  | 'key-last'
  | 'key-in-use'
  | 'cache-name-malformed'
  | 'pin-name-malformed'
  | 'pin-path-missing'
  | 'path-kept'
  | 'delta-refused'
  | 'quota-exceeded'
  | 'upstream-failed'
  | 'collection-running'
  | 'lease-busy'
  | 'lease-lost'
  | 'token-malformed'
  | 'overloaded'
  | 'shutting-down';

/** An error of the server's own; the signing room's codes pass through beside it. */
export class ServerError extends LarderError<ServerErrorCode> {
  constructor(
    code: ServerErrorCode,
    message: string,
    options: { readonly cause?: unknown; readonly fields?: ErrorFields } = {},
  ) {
    super(code, message, options);
    this.name = 'ServerError';
  }
}
