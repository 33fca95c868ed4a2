import { hasCode } from '@larder/signing/errors';
import type { NarWork } from '@larder/signing/nar-work';
import type { PathInfo } from '@larder/signing/path-info';
import type { StoreDir, StorePath } from '@larder/signing/store-path';
import { Semaphore } from '../concurrency.js';
import { checkContents } from '../local-store/check-contents.js';
import { deleteTree } from '../local-store/delete-tree.js';
import type { LocalStore, StagedPath } from '../local-store/local-store.js';
import type { FoundPath } from '../source-set.js';
import { type DeltaBase, findDeltaBases } from './delta-bases.js';
import type { Destination, ReceiveOptions, Reception } from './destination.js';
import { receiveArchives } from './receive-archives.js';
import { type RestoreOptions, restoreFromDelta, restorePath } from './restore-path.js';

export interface LocalDestinationOptions {
  readonly work: NarWork;
  /** False takes every path, whoever signed it. */
  readonly checksTrust?: boolean;
}

/** Bytes of old and new archive above which few deltas are applied at a time. */
const largeDelta = 16 * 1024 * 1024;

/** Copies into a store on this machine. */
export class LocalDestination implements Destination {
  readonly checksTrust: boolean;
  readonly #store: LocalStore;
  readonly #work: NarWork;
  /** Received and not yet committed; their locks are held. */
  readonly #deltas = new Semaphore(8);
  readonly #largeDeltas = new Semaphore(2);
  readonly #staged = new Map<StorePath, StagedPath>();

  constructor(store: LocalStore, { work, checksTrust = true }: LocalDestinationOptions) {
    this.#store = store;
    this.#work = work;
    this.checksTrust = checksTrust;
  }

  get uri(): string {
    return this.#store.uri;
  }

  get storeDir(): StoreDir {
    return this.#store.storeDir;
  }

  queryMissing(paths: readonly StorePath[], signal?: AbortSignal): Promise<ReadonlySet<StorePath>> {
    return this.#store.queryMissing(paths, signal);
  }

  queryKnown(): Promise<StorePath[]> {
    return this.#store.queryAllValidPaths();
  }

  findDeltaBases(infos: readonly PathInfo[]): Promise<Map<StorePath, DeltaBase[]>> {
    return findDeltaBases(infos, this.#store);
  }

  holdDeltaBases(paths: readonly StorePath[]): Promise<void> {
    return this.#store.addTempRoots(paths);
  }

  async receiveMany(found: readonly FoundPath[], options: ReceiveOptions): Promise<(Reception | Error)[]> {
    const store = this.#store;
    const { receptions, staged } = await receiveArchives(found, { ...options, store, work: this.#work });
    for (const each of staged) this.#staged.set(each.storePath, each);
    return receptions;
  }

  async receive(found: FoundPath, { onBytes, onFetched, signal }: ReceiveOptions): Promise<Reception> {
    const staged = await this.#store.tryStage(found.info.storePath);
    if (staged === undefined) return 'present';
    if (staged === 'busy') return 'busy';
    try {
      const { directory } = staged;
      const fsync = this.#store.fsyncsStorePaths;
      const options = {
        ...{ work: this.#work, directory, fsync, onBytes, signal },
        onFetched: (bytes: number, isDelta: boolean) => onFetched?.(found, bytes, isDelta),
      };
      const restore = () => this.#restore(found, options);
      await restore().catch(async (error: unknown) => {
        if (!hasCode(error, 'restore-target-exists')) throw error;
        // Left by a process that has crashed since we looked: its lock is ours now.
        await deleteTree(directory);
        await restore();
      });
      await checkContents(found.info, directory, this.storeDir);
      await staged.publish();
    } catch (error) {
      await deleteTree(staged.directory);
      staged.release();
      throw error;
    }
    this.#staged.set(found.info.storePath, staged);
    return 'received';
  }

  /** From a delta if there is one; large ones hold two archives in memory, so few go at a time. */
  async #restore(found: FoundPath, options: RestoreOptions): Promise<void> {
    const { delta } = found;
    if (delta !== undefined) {
      const base = this.#store.realPath(delta.base.storePath);
      const slots = found.info.narSize + delta.base.narSize > largeDelta ? this.#largeDeltas : this.#deltas;
      if (await slots.run(() => restoreFromDelta(found, { ...options, base }))) return;
    }
    await restorePath(found, options);
  }

  async commit(infos: readonly PathInfo[]): Promise<void> {
    this.#store.register(infos);
    for (const { storePath } of infos) this.#release(storePath);
  }

  async discard(path: StorePath): Promise<void> {
    if (this.#staged.has(path)) await deleteTree(this.#store.realPath(path));
    this.#release(path);
  }

  async close(): Promise<void> {
    await this.#store.close();
  }

  #release(path: StorePath): void {
    this.#staged.get(path)?.release();
    this.#staged.delete(path);
  }
}
