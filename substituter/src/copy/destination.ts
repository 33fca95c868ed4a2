import type { PathInfo } from '@larder/signing/path-info';
import type { StoreDir, StorePath } from '@larder/signing/store-path';
import type { FoundPath } from '../source-set.js';
import type { DeltaBase } from './delta-bases.js';

export interface ReceiveOptions {
  /** Called with the number of NAR bytes handled since the last call. */
  readonly onBytes: (count: number) => void;
  /** Hears what came over the network for a path, in bytes, once it is complete. */
  readonly onFetched?: (found: FoundPath, bytes: number, isDelta: boolean) => void;
  readonly signal: AbortSignal;
}

/**
 * What became of a path's contents: `received`, to be committed; `present`, since somebody else was faster; or
 * `busy`, since another process is adding the path right now: ask again later.
 */
export type Reception = 'received' | 'present' | 'busy';

/**
 * Where paths are copied to, in two steps. Contents are received in any order, many at a time, and checked; they
 * become visible by a commit, for which all references are there already or in the same batch.
 */
export interface Destination {
  readonly uri: string;
  readonly storeDir: StoreDir;
  /** Whether a path needs a trusted signature to come in. */
  readonly checksTrust: boolean;
  /** Of these paths, those that are not there. */
  queryMissing(paths: readonly StorePath[], signal?: AbortSignal): Promise<ReadonlySet<StorePath>>;
  /** Paths that are there with all they refer to, as far as that is cheap to say: need not be complete. */
  queryKnown?(): Promise<Iterable<StorePath>>;
  /** What of the destination's own each of these might be a newer version of, the likeliest first. */
  findDeltaBases?(infos: readonly PathInfo[]): Promise<Map<StorePath, DeltaBase[]>>;
  /** Keeps what deltas will be applied to from going away meanwhile. */
  holdDeltaBases?(paths: readonly StorePath[]): Promise<void>;
  /** Receives many small paths, all from one Larder server, at once; an error stands for a path that did not come. */
  receiveMany?(found: readonly FoundPath[], options: ReceiveOptions): Promise<(Reception | Error)[]>;
  receive(found: FoundPath, options: ReceiveOptions): Promise<Reception>;
  /** Makes received paths visible; `infos` are sorted, references first. */
  commit(infos: readonly PathInfo[], signal?: AbortSignal): Promise<void>;
  /** Gives up a path that was received and will not be committed. */
  discard(path: StorePath): Promise<void>;
  close(): Promise<void>;
}
