import { parseContentAddress } from '@larder/signing/content-address';
import { parseHash } from '@larder/signing/hash';
import type { NarInfo } from '@larder/signing/narinfo';
import type { PathInfo } from '@larder/signing/path-info';
import { parseSignature } from '@larder/signing/signature';
import { parseStorePath } from '@larder/signing/store-path';
import type { CommitPath } from '@larder/signing/upload';
import { ServerError } from '../errors.js';

/** A path that a client wants published. Nothing of it is verified yet but its form. */
export interface PathDraft extends PathInfo {
  readonly system?: string;
}

/** Most signatures on a path: far more than there are keys anyone trusts. */
const MAX_SIGNATURES = 64;

/** @throws the signing room's errors, naming what is malformed */
export function parseCommitPath(path: CommitPath): PathDraft {
  const signatures = path.signatures ?? [];
  for (const signature of signatures) parseSignature(signature);
  return checkDraft({
    storePath: parseStorePath(path.storePath),
    narHash: parseHash(path.narHash, 'sha256'),
    narSize: path.narSize,
    references: [...new Set(path.references)].map(parseStorePath).sort(),
    signatures,
    ...(path.deriver === undefined ? {} : { deriver: parseStorePath(path.deriver) }),
    ...(path.system === undefined ? {} : { system: path.system }),
    ...(path.ca === undefined ? {} : { ca: parseContentAddress(path.ca) }),
  });
}

/** What of a narinfo is the uploader's to say; where the NAR is and how it is compressed is ours. */
export function draftOfNarInfo(info: NarInfo): PathDraft {
  const { storePath, narHash, narSize, references, signatures, deriver, system, ca } = info;
  return checkDraft({
    storePath,
    narHash,
    narSize,
    references,
    signatures,
    ...(deriver === undefined ? {} : { deriver }),
    ...(system === undefined ? {} : { system }),
    ...(ca === undefined ? {} : { ca }),
  });
}

function checkDraft(draft: PathDraft): PathDraft {
  if (draft.signatures.length > MAX_SIGNATURES)
    throw new ServerError(
      'request-malformed',
      `${draft.storePath} has ${draft.signatures.length} signatures; at most ${MAX_SIGNATURES} are kept`,
    );
  if (draft.system !== undefined && !/^[\w.+-]{1,64}$/.test(draft.system))
    throw new ServerError('request-malformed', `${draft.storePath}: '${draft.system}' is no system`);
  return draft;
}
