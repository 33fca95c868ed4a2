import type { PathInfo } from '@larder/signing/path-info';
import type { StoreDir, StorePath } from '@larder/signing/store-path';

export interface ReadOptions {
  readonly signal?: AbortSignal;
}

/** Anything paths can be read from: a local store, a binary cache, several of them as one. */
export interface PathSource {
  /** How messages name it: its URI without parameters and passwords. */
  readonly uri: string;
  readonly storeDir: StoreDir;
  /** What is known of a path, or `undefined` when it is not there. */
  queryPathInfo(path: StorePath, options?: ReadOptions): Promise<PathInfo | undefined>;
  /** The path whose hash part this is, for callers who know only that. */
  queryPathFromHashPart(hashPart: string, options?: ReadOptions): Promise<StorePath | undefined>;
  /** The path's NAR, unpacked, as it comes: whoever reads it checks it against the NarHash. */
  openNar(info: PathInfo, options?: ReadOptions): AsyncIterable<Uint8Array>;
  close(): Promise<void>;
}
