import { LarderError } from '@larder/signing/errors';

/** What no other path would fare better with. */
const FATAL: ReadonlySet<string> = new Set([
  'storage-failed',
  'database-failed',
  'lease-lost',
  'lease-busy',
  'quota-exceeded',
  'key-unsealable',
  'cache-unreachable',
  'cache-refused',
]);

/** Whether an error is about the one path, so that the others can go on without it. */
export function isPathsOwn(error: unknown): error is LarderError {
  return error instanceof LarderError && !FATAL.has(error.code);
}
