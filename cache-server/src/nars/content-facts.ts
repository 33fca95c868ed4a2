import type { Hash, HashAlgorithm } from '@larder/signing/hash';

/** Which hash of a NAR's contents is wanted, as content addresses have it. */
export interface ContentHashRequest {
  readonly method: 'text' | 'flat' | 'recursive';
  readonly algorithm: HashAlgorithm;
  /** A hash part to blank out: that of a path that refers to itself. */
  readonly modulo?: string;
}

/** What can be asked of a stored NAR. Answers come from what was kept of the upload, or else from reading it again. */
export interface ContentFacts {
  /** Those of `wanted` that occur in the NAR. */
  findHashParts(wanted: readonly string[]): Promise<ReadonlySet<string>>;
  /** `undefined` when the method wants a plain file and the NAR is none. */
  computeContentHash(request: ContentHashRequest): Promise<Hash | undefined>;
  /** Its `.ls`; `undefined` when it is too large. */
  listing(): Promise<string | undefined>;
}
