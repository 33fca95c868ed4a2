import { formatFingerprint } from '@larder/signing/fingerprint';
import { type Hash, parseHash } from '@larder/signing/hash';
import { formatNarInfo, type NarInfo, parseNarInfo } from '@larder/signing/narinfo';
import { parseSignature } from '@larder/signing/signature';
import type { StoreDir } from '@larder/signing/store-path';
import { signPathInfo } from '@larder/signing/trust';
import type { Cache } from '../caches/cache.js';
import { type NarRow, narCompression } from '../database/tables/nars.js';
import { narPath } from '../storage/object-key.js';
import type { PathDraft } from './draft.js';

/**
 * The narinfo we serve: the uploader's word on the path, ours on where its NAR is, and signatures by the cache's keys beside
 * those that came with it.
 */
export function composeNarInfo(cache: Cache, draft: PathDraft, nar: NarRow): string {
  const info: NarInfo = {
    ...draft,
    signatures: withoutForgeries(cache, draft),
    url: narPath(nar),
    compression: narCompression(nar),
    // Of a NAR that was taken over, nobody may have said.
    ...(nar.file_hash === '' ? {} : { fileHash: parseHash(nar.file_hash, 'sha256') }),
    fileSize: nar.file_size,
  };
  return formatNarInfo(signPathInfo(info, cache.signingKeys, cache.storeDir), cache.storeDir);
}

/**
 * Adds to a published narinfo the signatures of another upload of the same path and contents.
 * @returns the new text; `undefined` when there is nothing to add
 */
export function addSignatures(cache: Cache, text: string, draft: PathDraft): string | undefined {
  const published = parsePublished(text, cache.storeDir);
  const known = new Set(published.signatures);
  const added = withoutForgeries(cache, draft).filter((signature) => !known.has(signature));
  if (added.length === 0) return undefined;
  return formatNarInfo({ ...published, signatures: [...published.signatures, ...added] }, cache.storeDir);
}

/** Whether the published path has these very contents and references, so that signatures for one are for the other. */
export function isSameContents(cache: Cache, text: string, draft: PathDraft): boolean {
  const published = parsePublished(text, cache.storeDir);
  return formatFingerprint(published, cache.storeDir) === formatFingerprint(draft, cache.storeDir);
}

export function parsePublished(text: string, storeDir: StoreDir): NarInfo {
  return parseNarInfo(text, storeDir, 'a published narinfo');
}

/**
 * Signatures by keys we do not know are kept as they are, for whoever trusts those. One in the name of a key of this cache
 * must verify, or it goes: a client may look at no more than one signature a key.
 */
function withoutForgeries(cache: Cache, draft: PathDraft): string[] {
  const fingerprint = formatFingerprint(draft, cache.storeDir);
  return draft.signatures.filter((text) => {
    const signature = parseSignature(text);
    const own = cache.publicKeys.find((key) => key.name === signature.keyName);
    return own === undefined || own.verify(fingerprint, signature);
  });
}

/** A hash as the database has it: nix32 without a prefix. */
export function bareHash(hash: Hash): string {
  return hash.format('nix32', { prefix: false });
}
