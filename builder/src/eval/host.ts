/** The type of a file system entry, as the language names it. */
export type FileType = 'regular' | 'directory' | 'symlink' | 'unknown';

/** A path to put into the store. */
export interface PathToAdd {
  /** The file or directory, absolute, symlinks resolved. */
  readonly path: string;
  /** The name the store path gets. */
  readonly name: string;
  readonly method: 'flat' | 'recursive';
  /** Says for a path below (absolute) whether it is kept. */
  readonly filter?: ((path: string, type: FileType) => boolean) | undefined;
  /** References the store path gets, as base names. */
  readonly references?: readonly string[];
  /** Compute the store path only. */
  readonly dryRun: boolean;
}

/** A derivation's output to be there before evaluation goes on. */
export interface OutputToRealise {
  /** Base name of the derivation. */
  readonly drv: string;
  readonly output: string;
}

/** A tree that was fetched, by its place in the store. */
export interface FetchedTree {
  /** Base name in the store. */
  readonly storePath: string;
  readonly attrs: Readonly<Record<string, string | number | boolean>>;
  /** The branch that was taken because the input names none. */
  readonly ref?: string;
  /** What it was made of, and would be again while that is as it is; absent where that cannot be told. */
  readonly sources?: readonly SourceStamp[];
}

/** A path (bytes), and a text that differs when what is there does. */
export type SourceStamp = readonly [path: string, stamp: string];

/** The lock file of a flake. Text and paths are bytes. */
export interface LockFileToWrite {
  readonly directory: string;
  /** The git work tree it is in. */
  readonly repository: string | undefined;
  readonly text: string;
  /** What differs, a line or more, each after a line break; undefined where there was none. */
  readonly changes: string | undefined;
  /** It is committed if there is one. */
  readonly commitMessage: string | undefined;
}

/** Attributes of a fetcher's input: `type`, `url`, `rev` and so on. */
export type FetchInput = Readonly<Record<string, string | number | boolean>>;

/**
 * The world outside an evaluation. Everything the language can observe or cause goes through here; paths are
 * absolute and, like all text of the evaluator, bytes (see byte-text). Store paths are base names.
 */
export interface Host {
  readonly storeDir: string;
  environment(name: string): string | undefined;
  home(): string;
  /** The current directory, which relative search path entries start from. */
  workingDirectory(): string;
  currentTime(): number;
  /** Prints one line to the user: traces and warnings. */
  log(text: string): void;

  /** The type of what is at a path, not following a last symlink; undefined if nothing is. */
  fileType(path: string): FileType | undefined;
  readFile(path: string): string;
  readDirectory(path: string): readonly (readonly [string, FileType])[];
  readLink(path: string): string;
  /** A path with all symlinks resolved, but for the last component if `keepLast`. */
  resolveSymlinks(path: string, keepLast?: boolean): string;

  isValidPath(storePath: string): boolean;
  /** References of a valid store path, base names. */
  queryReferences(storePath: string): readonly string[];
  /** All store paths reachable from one, itself included. */
  queryClosure(storePath: string): readonly string[];
  /** The text of a derivation in the store, or one made in this evaluation. */
  readDerivation(storePath: string): string;
  /** Adds a text file such as a derivation; gives its base name. */
  addText(name: string, contents: string, references: readonly string[], dryRun: boolean): string;
  addPath(path: PathToAdd): string;
  /** Makes a store path valid by substitution, or throws. */
  ensurePath(storePath: string): void;
  /** Builds or substitutes outputs; gives their store paths in the same order. */
  realise(outputs: readonly OutputToRealise[]): readonly string[];

  /** Fetches one file into the store, flat, or unpacks a tarball; gives the base name. */
  fetchUrl(request: {
    readonly url: string;
    readonly name: string;
    readonly unpack: boolean;
    /** Expected SHA-256 in any notation: of the file, or of the unpacked tree's NAR. */
    readonly sha256: string | undefined;
  }): string;
  /** Copies a store path with all it refers to from a binary cache, if it is not valid yet. */
  fetchClosure(request: { readonly fromStore: string; readonly path: string }): {
    readonly contentAddressed: boolean;
  };
  /** Fetches a source tree: path, git, tarball, file, github and kin. */
  fetchTree(input: FetchInput): FetchedTree;
  /** Writes the lock file of a flake that is outside the store, and tells of it. */
  writeFlakeLock(lock: LockFileToWrite): void;
}
