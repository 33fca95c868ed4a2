import type { Compression } from './compression.js';
import type { NarListing } from './nar-listing.js';
import type { ErrorImage } from './worker-protocol.js';

/** The jobs of nar-work's threads: what crosses between them, all fit for structured cloning. Hashes are SHA-256. */
export type NarJobs = {
  readonly verify: { readonly params: VerifyParams; readonly result: VerifyResult };
  readonly restore: { readonly params: RestoreParams; readonly result: RestoreResult };
  readonly restoreMany: { readonly params: RestoreManyParams; readonly result: RestoreManyResult };
  readonly dump: { readonly params: DumpParams; readonly result: DumpResult };
  readonly hash: { readonly params: HashParams; readonly result: HashResult };
  readonly makeDelta: { readonly params: DeltaParams; readonly result: Uint8Array };
  readonly compressFrame: { readonly params: FrameParams; readonly result: FrameResult };
};

/** What an archive must be; checked at its end, the size also while it grows. */
export interface ExpectedNar {
  readonly narHash?: Uint8Array;
  readonly narSize?: number;
}

export interface VerifyParams extends ExpectedNar {
  readonly compression: Compression;
  readonly candidates: readonly string[];
  readonly output: 'none' | 'same' | 'seekable';
  readonly level: number | undefined;
  readonly listing: boolean;
  readonly maxSize: number | undefined;
  readonly windowLogMax: number | undefined;
  /** The input is a delta to the archive of what is here; then `output` is not `same`. */
  readonly base: string | undefined;
}

export interface HashResult {
  readonly narHash: Uint8Array;
  readonly narSize: number;
  readonly references: readonly string[];
}

export interface VerifyResult extends HashResult {
  readonly fileHash: Uint8Array;
  readonly fileSize: number;
  readonly outputHash: Uint8Array;
  readonly outputSize: number;
  readonly seekable: boolean;
  readonly listing: NarListing | undefined;
}

export interface RestoreParams extends ExpectedNar {
  readonly compression: Compression;
  readonly target: string;
  readonly canonical: boolean;
  readonly fsync: boolean;
  readonly windowLogMax: number | undefined;
  /** The input is a delta to the archive of what is here. */
  readonly base: string | undefined;
}

/** One archive of an answer of many (archive-frames), in their order. */
export interface ManyItem {
  readonly target: string;
  readonly narHash: Uint8Array;
  readonly narSize: number;
  /** What a delta would be to. */
  readonly base: string | undefined;
}

export interface RestoreManyParams {
  readonly items: readonly ManyItem[];
  readonly fsync: boolean;
}

/** What became of each item: bytes that came for it, or why it is not there. */
export interface RestoreManyResult {
  readonly outcomes: readonly ManyOutcome[];
}

export interface ManyOutcome {
  readonly fileSize: number;
  readonly error: ErrorImage | undefined;
}

export interface RestoreResult {
  readonly narHash: Uint8Array;
  readonly narSize: number;
  readonly fileSize: number;
}

export interface HashParams {
  readonly path: string;
  readonly candidates: readonly string[];
}

export interface DumpParams extends HashParams {
  readonly compression: Compression;
  readonly level: number | undefined;
  /** Of the archive, if known. */
  readonly size: number | undefined;
}

export interface DumpResult extends HashResult {
  readonly fileHash: Uint8Array;
  readonly fileSize: number;
}

/** Paths on disk: the delta is from the archive of one to that of the other. */
export interface DeltaParams {
  readonly base: string;
  readonly path: string;
}

export interface FrameParams {
  readonly content: Uint8Array;
  readonly level: number | undefined;
}

export interface FrameResult {
  readonly frame: Uint8Array;
  /** The content's buffer, given back for reuse. */
  readonly buffer: ArrayBuffer;
}
