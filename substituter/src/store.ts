import type { Compression } from '@larder/signing/compression';
import type { PathInfo, ValidPathInfo } from '@larder/signing/path-info';
import type { StoreDir, StorePath } from '@larder/signing/store-path';
import type { ClosureWalkHint } from './binary-cache/narinfo-walk.js';
import type { FindFile } from './http/http-client.js';

export interface ReadOptions {
  readonly signal?: AbortSignal;
  /** Where else on the web the very same file is: asked when it does not come. */
  readonly elsewhere?: FindFile;
  /** The walk over a closure that this question is a part of: a cache may answer for the whole at once. */
  readonly walk?: ClosureWalkHint;
}

/** A path's NAR in the form its source keeps it. */
export interface PackedSource {
  readonly compression: Compression;
  readonly bytes: AsyncIterable<Uint8Array>;
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
  /** The path's NAR as it comes: whoever reads it checks it against the NarHash. The info is this source's own. */
  openPacked(info: PathInfo, options?: ReadOptions): PackedSource;
  close(): Promise<void>;
}

/** A store on this machine, opened directly or through Nix's daemon: it can be asked about all it has. */
export interface MachineStore extends PathSource {
  queryPathInfo(path: StorePath, options?: ReadOptions): Promise<ValidPathInfo | undefined>;
  queryAllValidPaths(): Promise<StorePath[]>;
  /** Which of these paths are valid. */
  queryValidPaths(paths: Iterable<StorePath>): Promise<Set<StorePath>>;
  /** The valid paths' closure, references first. */
  queryClosure(roots: Iterable<StorePath>): Promise<ValidPathInfo[]>;
  queryReferrers(path: StorePath): Promise<StorePath[]>;
  /** All that depends on these paths, themselves included, sorted. */
  queryReferrersClosure(roots: Iterable<StorePath>): Promise<StorePath[]>;
  /** The derivations in the store that have the path as an output. */
  queryValidDerivers(path: StorePath): Promise<StorePath[]>;
  /** The paths of a derivation's outputs, by name, as far as they are known. */
  queryDerivationOutputs(derivation: StorePath): Promise<Map<string, StorePath>>;
}
