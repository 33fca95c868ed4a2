import { closeSync, lstatSync, renameSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { LarderError } from '@larder/signing/errors';
import { writeNar } from '@larder/signing/nar-writer';
import { type PathInfo, sortByReferences, type ValidPathInfo } from '@larder/signing/path-info';
import { type StoreDir, type StorePath, storePathHashPart } from '@larder/signing/store-path';
import type { MachineStore, PackedSource, ReadOptions } from '../store.js';
import { type DerivationOutputs, StoreDatabase } from './database.js';
import { deleteTree } from './delete-tree.js';
import {
  type LockOptions,
  lockPath,
  openLockFile,
  type PathLock,
  tryPathLock,
  waitForLock,
} from './file-lock.js';
import { realPath, type StoreLayout } from './layout.js';
import { Leftovers } from './leftovers.js';
import type { LocalStoreOptions } from './local-store-options.js';
import { type ShareOptions, StoreOptimiser } from './optimise.js';
import type { RealisationTable } from './realisation-table.js';
import { readDerivationOutputs } from './register-derivation.js';
import { createStoreDirectories, reserveSpace } from './store-directories.js';
import { TempRoots } from './temp-roots.js';

export { type LocalStoreOptions, localStoreOptions } from './local-store-options.js';

/**
 * A path that is being added: its lock is held and `directory` does not exist. The caller makes the tree there
 * with canonical metadata, publishes it, and registers it; `release` ends it either way.
 */
export interface StagedPath {
  readonly storePath: StorePath;
  /** Where to make the file or tree. */
  readonly directory: string;
  /** Moves the finished tree to the path's own place. It is still invalid until it is registered. */
  publish(): Promise<void>;
  /** Gives the lock up, after registration or on failure. */
  release(): void;
}

/**
 * A store on this machine, in Nix's own layout and database, shared with Nix and with other processes of ours
 * under Nix's locking rules.
 *
 * Crash invariants, each upheld at its place below:
 *  1. a path is valid only by its row in the database, and the row is committed after its tree is complete;
 *  2. a tree is made under another name and moved into place whole, so not even an invalid path is half there;
 *  3. whoever adds a path holds its lock, so what lies at an invalid path's place has no owner and may go;
 *  4. every path touched is a temporary root first, so no garbage collector takes it away meanwhile.
 */
export class LocalStore implements MachineStore {
  readonly uri: string;
  readonly layout: StoreLayout;
  readonly #options: LocalStoreOptions;
  readonly #database: StoreDatabase;
  readonly #tempRoots: TempRoots;
  readonly #bigLock: number;
  readonly #leftovers: Leftovers;
  #optimiser: StoreOptimiser | undefined;

  private constructor(uri: string, layout: StoreLayout, parts: LocalStoreParts) {
    this.uri = uri;
    this.layout = layout;
    this.#options = parts.options;
    this.#database = parts.database;
    this.#bigLock = parts.bigLock;
    this.#leftovers = new Leftovers(layout.realStoreDir);
    this.#tempRoots = TempRoots.open(layout);
  }

  /**
   * Opens the store, making what is missing of it.
   * @throws `store-schema-unsupported`, `store-unreadable`, `store-unwritable`
   */
  static async open(layout: StoreLayout, options: LocalStoreOptions, uri = 'local'): Promise<LocalStore> {
    try {
      createStoreDirectories(layout);
    } catch (error) {
      throw new LarderError(
        'store-unwritable',
        `cannot make the store directories below ${layout.stateDir}: run as the store's owner, or use another store (local?root=DIR)`,
        { cause: error },
      );
    }
    reserveSpace(layout.stateDir, options.reservedSpace);
    const bigLockPath = `${layout.stateDir}/db/big-lock`;
    const bigLock = openLockFile(bigLockPath);
    try {
      // Held shared for as long as the store is open: whoever upgrades the schema wants it alone.
      await waitForLock(bigLock, 'shared', bigLockPath, { onWait: options.onWait });
      const database = StoreDatabase.open(`${layout.stateDir}/db`, {
        storeDir: layout.storeDir,
        fsyncMetadata: options.fsyncMetadata,
      });
      if (options.realisations) database.realisations.create();
      return new LocalStore(uri, layout, { options, database, bigLock });
    } catch (error) {
      closeSync(bigLock);
      throw error;
    }
  }

  get storeDir(): StoreDir {
    return this.layout.storeDir;
  }

  get fsyncsStorePaths(): boolean {
    return this.#options.fsyncStorePaths;
  }

  async close(): Promise<void> {
    this.#tempRoots.close();
    this.#database.close();
    closeSync(this.#bigLock);
  }

  async queryPathInfo(path: StorePath): Promise<ValidPathInfo | undefined> {
    return this.#database.queryPathInfo(path);
  }

  async queryPathFromHashPart(hashPart: string): Promise<StorePath | undefined> {
    return this.#database.queryPathFromHashPart(hashPart);
  }

  async queryAllValidPaths(): Promise<StorePath[]> {
    return this.#database.queryAllValidPaths();
  }

  /** Up to a thousand paths that became valid after `position`, in that order, with the position of the last. */
  queryPathsAfter(position: number): { readonly paths: StorePath[]; readonly position: number } {
    return this.#database.queryPathsAfter(position);
  }

  /** The position of what became valid last. */
  get lastPosition(): number {
    return this.#database.lastPosition;
  }

  async queryReferrers(path: StorePath): Promise<StorePath[]> {
    return this.#database.queryReferrers(path);
  }

  async queryValidDerivers(path: StorePath): Promise<StorePath[]> {
    return this.#database.queryValidDerivers(path);
  }

  async queryDerivationOutputs(derivation: StorePath): Promise<Map<string, StorePath>> {
    return this.#database.queryDerivationOutputs(derivation);
  }

  /** Which of these paths are valid. */
  async queryValidPaths(paths: Iterable<StorePath>): Promise<Set<StorePath>> {
    return new Set([...paths].filter((path) => this.#database.isValid(path)));
  }

  /** The valid paths' closure, references first. */
  async queryClosure(roots: Iterable<StorePath>): Promise<ValidPathInfo[]> {
    const infos = this.#database.queryClosure(roots).map((path) => this.#database.queryPathInfo(path)!);
    return sortByReferences(infos);
  }

  /** All that depends on these paths, themselves included. */
  async queryReferrersClosure(roots: Iterable<StorePath>): Promise<StorePath[]> {
    return this.#database.queryClosure(roots, 'referrers').sort();
  }

  openPacked(info: PathInfo, { signal }: ReadOptions = {}): PackedSource {
    return { compression: 'none', bytes: writeNar(this.realPath(info.storePath), { signal }) };
  }

  /** Where the path's files are on this machine. */
  realPath(path: StorePath): string {
    return realPath(this.layout, path);
  }

  /** Keeps paths, valid or not, from garbage collection while this store is open. */
  async addTempRoots(paths: Iterable<StorePath>, signal?: AbortSignal): Promise<void> {
    await this.#tempRoots.add(paths, signal);
  }

  /** Roots the paths and tells which are not valid: what is valid now stays so while this store is open. */
  async queryMissing(paths: Iterable<StorePath>, signal?: AbortSignal): Promise<Set<StorePath>> {
    const all = [...paths];
    await this.addTempRoots(all, signal);
    return new Set(all.filter((path) => !this.#database.isValid(path)));
  }

  /**
   * Begins to add a path: waits for its lock, and gives `undefined` if it is valid by then. The caller has made
   * it a temporary root. With `repair`, a valid path is staged too.
   */
  async stage(
    path: StorePath,
    options: LockOptions & { readonly repair?: boolean } = {},
  ): Promise<StagedPath | undefined> {
    const lock = await lockPath(this.realPath(path), { onWait: this.#options.onWait, ...options });
    return this.#stageLocked(path, lock, options.repair ?? false);
  }

  /** The same without waiting: `'busy'` when another process is adding the path. */
  async tryStage(path: StorePath): Promise<StagedPath | 'busy' | undefined> {
    const lock = tryPathLock(this.realPath(path));
    return lock === undefined ? 'busy' : this.#stageLocked(path, lock, false);
  }

  async #stageLocked(path: StorePath, lock: PathLock, repair: boolean): Promise<StagedPath | undefined> {
    try {
      if (!repair && this.#database.isValid(path)) {
        lock.release();
        return undefined;
      }
      // The name has the path's hash part, so the path's temporary root keeps collectors from it too; and it
      // is the same each time, so what a crash left is found here by the next one who tries.
      const name = `${storePathHashPart(path)}-larder-staging`;
      const directory = `${this.layout.realStoreDir}/${name}`;
      if (repair) await deleteTree(directory);
      else await this.#leftovers.remove(name, path); // invariant 3
      return {
        storePath: path,
        directory,
        publish: async () => {
          await (repair ? this.#replace(path, directory) : this.#publish(path, directory));
          await this.optimiseNew(path, { repair });
        },
        release: () => lock.release(),
      };
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  /** Shares the files of a path that is about to become valid with others, where the settings say so. */
  async optimiseNew(path: StorePath, options?: ShareOptions): Promise<void> {
    if (!this.#options.optimise) return;
    this.#optimiser ??= new StoreOptimiser(this.layout.realStoreDir);
    await this.#optimiser.optimise(this.realPath(path), options);
  }

  /** Invariant 2: the tree comes whole, and its place is empty. */
  async #publish(path: StorePath, directory: string): Promise<void> {
    const place = this.realPath(path);
    try {
      renameSync(directory, place);
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? '';
      if (!['ENOTEMPTY', 'EEXIST', 'EISDIR', 'ENOTDIR'].includes(code)) throw error;
      await deleteTree(place); // invariant 3
      renameSync(directory, place);
    }
  }

  /** Invariant 2 for a path under repair, whose broken tree steps aside, if there is one. */
  async #replace(path: StorePath, directory: string): Promise<void> {
    const place = this.realPath(path);
    const aside = `${this.layout.realStoreDir}/${storePathHashPart(path)}-larder-replaced`;
    await deleteTree(aside);
    if (lstatSync(place, { throwIfNoEntry: false }) !== undefined) renameSync(place, aside);
    renameSync(directory, place);
    await deleteTree(aside);
  }

  /**
   * Makes published paths valid in one transaction, all or none (invariant 1). References must be valid or among
   * `infos`.
   * @throws `reference-invalid`, `derivation-malformed`
   */
  register(infos: readonly ValidPathInfo[]): void {
    const outputs = new Map<StorePath, DerivationOutputs>();
    for (const { storePath } of infos) {
      if (!storePath.endsWith('.drv')) continue;
      outputs.set(storePath, readDerivationOutputs(this.realPath(storePath), this.storeDir));
    }
    this.#database.register(infos, outputs);
  }

  /** Which paths outputs of derivations came out as. */
  get realisations(): RealisationTable {
    return this.#database.realisations;
  }

  /** Adds signatures to a valid path. */
  addSignatures(path: StorePath, signatures: readonly string[]): void {
    this.#database.addSignatures(path, signatures);
  }

  /** Names of store objects on disk, valid or not. */
  async listRealPaths(): Promise<Set<string>> {
    return new Set(await readdir(this.layout.realStoreDir));
  }

  /** Forgets paths, referrers first. Their files stay. */
  invalidate(paths: readonly StorePath[]): void {
    this.#database.invalidate(paths);
  }
}

interface LocalStoreParts {
  readonly options: LocalStoreOptions;
  readonly database: StoreDatabase;
  readonly bigLock: number;
}
