import { S3ServiceException } from '@aws-sdk/client-s3';
import { ServerError } from '../errors.js';

/** Whether S3 says that there is no such object. A missing bucket is not that: it is a fault. */
export function isAbsence(error: unknown): boolean {
  if (!(error instanceof S3ServiceException)) return false;
  if (error.name === 'NoSuchBucket') return false;
  return error.name === 'NoSuchKey' || error.name === 'NotFound' || error.$metadata.httpStatusCode === 404;
}

/** Our own errors and aborts pass through; what the SDK throws becomes `storage-failed`. */
export function storageFailed(message: string, cause: unknown): unknown {
  if (cause instanceof ServerError) return cause;
  if (cause instanceof Error && cause.name === 'AbortError') return cause;
  const detail = cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause);
  return new ServerError('storage-failed', `${message}: ${detail}`, { cause });
}
