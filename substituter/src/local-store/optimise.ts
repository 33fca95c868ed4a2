import {
  chmodSync,
  linkSync,
  lstatSync,
  lutimesSync,
  readdirSync,
  renameSync,
  type Stats,
  unlinkSync,
} from 'node:fs';
import { type Hash, hashStream } from '@larder/signing/hash';
import { type ByteString, fromByteString, toByteString, toFsPath } from '@larder/signing/nar-format';
import { STORE_MTIME } from '@larder/signing/nar-restore';
import { writeNar } from '@larder/signing/nar-writer';

export interface OptimiseResult {
  readonly filesLinked: number;
  /** Bytes of the files that are links now. */
  readonly bytesFreed: number;
}

export interface OptimiseOptions {
  readonly onNote?: (text: string) => void;
  readonly signal?: AbortSignal;
}

export interface ShareOptions {
  /** The path is under repair: what damaged it may have damaged the file that others share, so that is checked too. */
  readonly repair?: boolean;
}

/**
 * Shares the space of files with the same contents by hard links, in Nix's layout: `.links/<hash>` is one name of each
 * such file, where the hash is that of the file's NAR (so executable and other files are kept apart), and links whose only
 * name is that one are the garbage collector's. Nix may do the same to the same store at the same time: every step is one
 * link or one rename. Reference: `optimise-store.cc`.
 */
export class StoreOptimiser {
  readonly #storeDirectory: string;
  readonly #links: string;
  readonly #options: OptimiseOptions;
  /** Of files in `.links`: what has one of these needs no hashing. */
  readonly #inodes: Set<number>;
  #filesLinked = 0;
  #bytesFreed = 0;

  constructor(realStoreDir: string, options: OptimiseOptions = {}) {
    this.#storeDirectory = realStoreDir;
    this.#links = `${realStoreDir}/.links`;
    this.#options = options;
    this.#inodes = new Set(
      readdirSync(this.#links).flatMap((name) => inodeOf(`${this.#links}/${name}`) ?? []),
    );
  }

  get result(): OptimiseResult {
    return { filesLinked: this.#filesLinked, bytesFreed: this.#bytesFreed };
  }

  /** Links the files of a tree or file in the store directory, whose path is valid, or locked by the caller. */
  async optimise(path: string, options: ShareOptions = {}): Promise<void> {
    await this.#visit(toByteString(path), options);
  }

  async #visit(path: ByteString, options: ShareOptions): Promise<void> {
    this.#options.signal?.throwIfAborted();
    const file = toFsPath(path);
    const status = lstatSync(file);
    if (status.isDirectory()) {
      for (const name of readdirSync(file, 'latin1')) await this.#visit(`${path}/${name}`, options);
      return;
    }
    if (!status.isFile() && !status.isSymbolicLink()) return;
    // Something changed it after it came into the store; its neighbours must not change with it.
    if (status.isFile() && (status.mode & 0o200) !== 0) {
      this.#options.onNote?.(`skipping suspicious writable file '${fromByteString(path)}'`);
      return;
    }
    if (status.nlink > 1 && this.#inodes.has(status.ino)) return;
    await this.#share(path, status, options);
  }

  async #share(path: ByteString, status: Stats, { repair = false }: ShareOptions): Promise<void> {
    const file = toFsPath(path);
    if (typeof file !== 'string') return; // Names that are no text are rare, and archives are made by text.
    const hash = await hashFile(file);
    const link = `${this.#links}/${hash.format('nix32', { prefix: false })}`;
    let shared = lstatSync(link, { throwIfNoEntry: false });
    const damaged =
      shared !== undefined &&
      (shared.size !== status.size || (repair && !(await hashFile(link)).equals(hash)));
    if (damaged) {
      this.#options.onNote?.(
        `removing corrupted link '${link}'; 'larder verify --all --repair' finds more such`,
      );
      unlinkSync(link);
      shared = undefined;
    }
    if (shared === undefined) {
      if (this.#tryLink(file, link)) {
        this.#inodes.add(status.ino);
        return;
      }
      shared = lstatSync(link, { throwIfNoEntry: false });
      if (shared === undefined) return; // The links' directory is full.
    }
    if (shared.ino !== status.ino) this.#replace(path, link, status);
  }

  /** Crash invariant: the file is replaced by one rename, with a file of the same contents. */
  #replace(path: ByteString, link: string, status: Stats): void {
    const directory = path.slice(0, path.lastIndexOf('/'));
    const toggled = directory !== toByteString(this.#storeDirectory) ? toFsPath(directory) : undefined;
    const mode = toggled === undefined ? 0 : lstatSync(toggled).mode & 0o7777;
    if (toggled !== undefined) chmodSync(toggled, mode | 0o200);
    try {
      const temporary = `${this.#storeDirectory}/.tmp-link-${process.pid}-${process.hrtime.bigint()}`;
      if (!this.#tryLink(link, temporary)) return;
      try {
        renameSync(temporary, toFsPath(path));
      } catch (error) {
        unlinkSync(temporary);
        if ((error as NodeJS.ErrnoException).code !== 'EMLINK') throw error;
        return;
      }
      this.#filesLinked++;
      this.#bytesFreed += status.size;
    } finally {
      if (toggled !== undefined) {
        chmodSync(toggled, mode);
        lutimesSync(toggled, STORE_MTIME, STORE_MTIME);
      }
    }
  }

  /** False where the file system has no room for another name: the file stays as it is. */
  #tryLink(from: string | Buffer, to: string): boolean {
    try {
      linkSync(from, to);
      return true;
    } catch (error) {
      const { code = '' } = error as NodeJS.ErrnoException;
      if (['EEXIST', 'EMLINK', 'ENOSPC'].includes(code)) return false;
      throw error;
    }
  }
}

async function hashFile(file: string): Promise<Hash> {
  return (await hashStream('sha256', writeNar(file))).hash;
}

function inodeOf(file: string): number | undefined {
  return lstatSync(file, { throwIfNoEntry: false })?.ino;
}
