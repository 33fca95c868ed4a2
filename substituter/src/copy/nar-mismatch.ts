import { LarderError } from '@larder/signing/errors';
import type { NarSummary } from '@larder/signing/nar-work';
import type { FoundPath } from '../source-set.js';

/** Codes of errors that say a NAR is not what its path's info promised. */
const mismatches = ['nar-hash-mismatch', 'nar-size-mismatch', 'nar-malformed', 'codec-too-large'];

/** Names the path and where it came from in an error about its NAR. */
export function nameSource(error: unknown, { info, source }: FoundPath): unknown {
  if (!(error instanceof LarderError) || error.fields.path === info.storePath) return error;
  if (!mismatches.includes(error.code) && !error.code.startsWith('codec-')) return error;
  return new LarderError(error.code, `${info.storePath} from ${source.uri} is refused: ${error.message}`, {
    cause: error,
    fields: { ...error.fields, path: info.storePath, source: source.uri },
  });
}

/** @throws `nar-hash-mismatch`, `nar-size-mismatch` unless the NAR is what the path's info says */
export function checkNar({ info, source }: FoundPath, got: Pick<NarSummary, 'narHash' | 'narSize'>): void {
  const fields = { path: info.storePath, source: source.uri };
  if (got.narSize !== info.narSize) {
    throw new LarderError(
      'nar-size-mismatch',
      `hash mismatch: ${info.storePath} in ${source.uri} has an archive of ${got.narSize} bytes, not ${info.narSize}`,
      { fields },
    );
  }
  if (got.narHash.equals(info.narHash)) return;
  throw new LarderError(
    'nar-hash-mismatch',
    `hash mismatch: ${info.storePath} in ${source.uri} has an archive with the hash ${got.narHash.toString()}, not ${info.narHash.toString()}`,
    { fields },
  );
}

/** Whether another source of the path might do better: the bytes were bad, gone, or did not come. */
export function isSourceFault(error: unknown): boolean {
  if (!(error instanceof LarderError)) return false;
  return (
    error.code.startsWith('codec-') ||
    error.code === 'archive-frame-malformed' ||
    mismatches.includes(error.code) ||
    [
      'cache-file-missing',
      'cache-unreachable',
      'cache-unauthorized',
      'cache-refused',
      'compression-unknown',
    ].includes(error.code)
  );
}
