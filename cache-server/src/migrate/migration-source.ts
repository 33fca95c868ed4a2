import type { Compression } from '@larder/signing/compression';
import type { PathDraft } from '../publish/draft.js';

/** What a cache elsewhere has of a path, as far as its order among others goes. */
export interface MigrationEntry<Key> {
  /** What the source finds it by. */
  readonly key: Key;
  readonly hashPart: string;
  /** Hash parts; its own may be among them. */
  readonly references: readonly string[];
}

/** A NAR in the cache elsewhere. */
export interface MigratingNar {
  readonly compression: Compression;
  /** Its bytes, so compressed. @throws what reading it throws; `cache-unreachable` when nothing else can be read either */
  open(): AsyncIterable<Uint8Array>;
  /** Which part of it is to blame, once it turned out not to be what it should: where that can be told. */
  explain?(): Promise<string | undefined>;
}

export interface MigratingPath {
  readonly draft: PathDraft;
  /** Looks for its NAR, which only who needs it should ask for; gives why there is none. */
  findNar(): Promise<MigratingNar | MissingNar>;
}

export interface MissingNar {
  readonly why: string;
}

/** A path that cannot be moved. */
export interface RefusedPath {
  /** Its store path, or what there is of it. */
  readonly path: string;
  readonly why: string;
}

/** A build's log or a realisation, as a cache has it. */
export interface MigratingSideFile {
  /** Relative to the cache: `log/…`, `realisations/…`, `build-trace-v2/…`. */
  readonly name: string;
  /** `undefined` when it is gone. */
  read(): Promise<Uint8Array | undefined>;
}

/** A cache elsewhere, to be taken over. It is never written to. */
export interface MigrationSource<Key = unknown> {
  entries(): AsyncIterable<MigrationEntry<Key>>;
  /** These paths, in the order of the keys; those that are gone meanwhile are left out. */
  load(keys: readonly Key[]): Promise<readonly (MigratingPath | RefusedPath)[]>;
  /** What it keeps beside paths. */
  sideFiles?(): AsyncIterable<MigratingSideFile>;
}

export function isRefused(path: MigratingPath | RefusedPath): path is RefusedPath {
  return 'why' in path;
}

export function isMovable(path: MigratingPath | RefusedPath): path is MigratingPath {
  return !isRefused(path);
}
