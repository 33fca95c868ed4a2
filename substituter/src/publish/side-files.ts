import type { Hash } from '@larder/signing/hash';
import type { Realisation } from '@larder/signing/realisation';
import type { StorePath } from '@larder/signing/store-path';
import type { Destination } from '../copy/destination.js';

/** What caches keep beside paths. */
export interface SideFiles {
  /** Keeps the log of a derivation's build, plain text, in place of an older one. */
  putLog(derivation: StorePath, text: Uint8Array, signal?: AbortSignal): Promise<void>;
  /** Keeps which path an output came out as; a cache that has another answer keeps its own. */
  putRealisation(realisation: Realisation, signal?: AbortSignal): Promise<void>;
  /** Keeps the delta between two archives that are there, and says whether it does: one that saves little is not worth it. */
  putDelta(between: ArchivePair, delta: Uint8Array, signal?: AbortSignal): Promise<boolean>;
}

/** An older archive and a newer one, by their NarHashes. */
export interface ArchivePair {
  readonly base: Hash;
  readonly next: Hash;
}

/** The place for a destination's side files, if it has one: caches do, stores do not. */
export function sideFilesOf(destination: Destination): SideFiles | undefined {
  return 'putLog' in destination ? (destination as Destination & SideFiles) : undefined;
}
