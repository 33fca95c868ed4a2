import {
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fsyncSync,
  futimesSync,
  lutimesSync,
  mkdirSync,
  openSync,
  symlinkSync,
  utimesSync,
  writeSync,
} from 'node:fs';
import { LarderError } from './errors.js';
import {
  type ByteString,
  CASE_HACK_SUFFIX,
  fromByteString,
  type NarLimits,
  toByteString,
  toFsPath,
} from './nar-format.js';
import { type NarFileHeader, NarParser, type NarVisitor } from './nar-parser.js';

export interface RestoreOptions {
  /** Modes 0444, 0555 and times of one second after the epoch, as everything in a store has; otherwise 0644, 0755 and now. */
  readonly canonical?: boolean;
  /** Flush each file to disk before it is closed. */
  readonly fsync?: boolean;
  /** Keep names apart that differ only in case, as Nix's setting `use-case-hack` does on file systems that confuse them. */
  readonly caseHack?: boolean;
  readonly limits?: Partial<NarLimits>;
}

/** Seconds since the epoch that every file in a store was last changed. */
export const STORE_MTIME = 1;

/**
 * Restores an archive to `target`, which must not exist. Nothing is written outside it: every directory is made here,
 * names cannot climb, and files are created exclusively and never through a link.
 * @throws `nar-malformed`; `restore-target-exists`. What was restored until then is left for the caller to remove.
 */
export async function restoreNar(
  source: AsyncIterable<Uint8Array>,
  target: string,
  options: RestoreOptions & { readonly signal?: AbortSignal } = {},
): Promise<void> {
  const restorer = new NarRestorer(target, options);
  const parser = new NarParser(restorer, options.limits);
  try {
    for await (const chunk of source) {
      options.signal?.throwIfAborted();
      parser.write(chunk);
    }
    parser.end();
  } finally {
    restorer.close();
  }
}

/** Writes what it visits to disk, with synchronous calls: for worker threads, and behind {@link restoreNar}. */
export class NarRestorer implements NarVisitor {
  readonly #target: ByteString;
  readonly #canonical: boolean;
  readonly #fsync: boolean;
  readonly #caseHack: boolean;
  readonly #directories: ByteString[] = [];
  /** Names seen in each open directory, in lower case, each with how often. */
  readonly #names: Map<string, number>[] = [];
  #file: number | undefined;
  #executable = false;

  constructor(target: string, options: RestoreOptions = {}) {
    this.#target = toByteString(target);
    this.#canonical = options.canonical ?? false;
    this.#fsync = options.fsync ?? false;
    this.#caseHack = options.caseHack ?? false;
  }

  enterDirectory(name: ByteString): void {
    const path = this.#path(name);
    this.#create(path, () => mkdirSync(toFsPath(path), { mode: 0o755 }));
    this.#directories.push(path);
    this.#names.push(new Map());
  }

  leaveDirectory(): void {
    const path = this.#directories.pop()!;
    this.#names.pop();
    if (!this.#canonical) return;
    const file = toFsPath(path);
    chmodSync(file, 0o555);
    utimesSync(file, STORE_MTIME, STORE_MTIME);
  }

  beginFile(name: ByteString, header: Pick<NarFileHeader, 'executable'>): void {
    const path = this.#path(name);
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
    this.#create(path, () => {
      this.#file = openSync(toFsPath(path), flags, header.executable ? 0o755 : 0o644);
    });
    this.#executable = header.executable;
  }

  contents(chunk: Uint8Array): void {
    for (let at = 0; at < chunk.length; ) at += writeSync(this.#file!, chunk, at, chunk.length - at);
  }

  endFile(): void {
    const file = this.#file!;
    if (this.#canonical) {
      fchmodSync(file, this.#executable ? 0o555 : 0o444);
      futimesSync(file, STORE_MTIME, STORE_MTIME);
    }
    if (this.#fsync) fsyncSync(file);
    this.close();
  }

  symlink(name: ByteString, target: ByteString): void {
    const path = this.#path(name);
    const file = toFsPath(path);
    this.#create(path, () => symlinkSync(toFsPath(target), file));
    if (this.#canonical) lutimesSync(file, STORE_MTIME, STORE_MTIME);
  }

  /** Closes a file that an error left open. */
  close(): void {
    if (this.#file === undefined) return;
    closeSync(this.#file);
    this.#file = undefined;
  }

  #path(name: ByteString): ByteString {
    if (name === '') return this.#target;
    return `${this.#directories.at(-1)}/${this.#caseHack ? this.#distinct(name) : name}`;
  }

  #distinct(name: ByteString): ByteString {
    const names = this.#names.at(-1)!;
    const seen = names.get(name.toLowerCase());
    names.set(name.toLowerCase(), (seen ?? 0) + 1);
    return seen === undefined ? name : `${name}${CASE_HACK_SUFFIX}${seen}`;
  }

  #create(path: ByteString, make: () => void): void {
    try {
      make();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      const shown = fromByteString(path);
      throw new LarderError(
        'restore-target-exists',
        `${shown} exists already; restore to a path that does not`,
        {
          cause: error,
          fields: { path: shown },
        },
      );
    }
  }
}
