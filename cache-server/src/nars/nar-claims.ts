import { hasCode } from '@larder/signing/errors';
import { ServerError } from '../errors.js';
import { bareHash } from '../publish/narinfo-text.js';
import type { NarUpload } from './nar-intake.js';
import type { IngestedNar } from './nar-reader.js';

/** Holds a NAR that was read against what its client said. @throws `nar-hash-mismatch`, `nar-size-mismatch`, `nar-file-mismatch` */
export function checkClaims(nar: IngestedNar, upload: NarUpload): void {
  const hash = bareHash(nar.narHash);
  if (upload.narHash !== undefined && upload.narHash !== hash)
    throw new ServerError(
      'nar-hash-mismatch',
      `the NAR was to have the hash sha256:${upload.narHash}, it has sha256:${hash}`,
      {
        fields: { expected: `sha256:${upload.narHash}`, actual: `sha256:${hash}` },
      },
    );
  if (upload.narSize !== undefined && upload.narSize !== nar.narSize)
    throw new ServerError(
      'nar-size-mismatch',
      `the NAR was to have ${upload.narSize} bytes, it has ${nar.narSize}`,
      {
        fields: { expected: upload.narSize, actual: nar.narSize },
      },
    );
  // Nix names the file by its hash, and a copy of our own bucket by the NarHash; other tools' names mean nothing.
  const named = /^([0-9abcdfghijklmnpqrsvwxyz]{52})\.nar/.exec(upload.fileName ?? '')?.[1];
  if (named === undefined || named === bareHash(nar.uploadHash) || named === hash) return;
  throw new ServerError(
    'nar-file-mismatch',
    `the file is named by the hash ${named}, but has ${bareHash(nar.uploadHash)}: it was damaged on the way`,
    { fields: { expected: named, actual: bareHash(nar.uploadHash) } },
  );
}

/** What is wrong with an upload that was cut off because it has more than it said; `undefined` for another error. */
export function exceedsClaim(error: unknown, { narSize }: NarUpload): ServerError | undefined {
  if (narSize === undefined || !hasCode(error, 'codec-too-large') || error.fields['maxSize'] !== narSize)
    return undefined;
  return new ServerError('nar-size-mismatch', `the NAR was to have ${narSize} bytes, it has more`, {
    cause: error,
    fields: { expected: narSize },
  });
}
