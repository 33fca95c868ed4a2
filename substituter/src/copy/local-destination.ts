import { hasCode } from '@larder/signing/errors';
import type { NarWork } from '@larder/signing/nar-work';
import type { PathInfo } from '@larder/signing/path-info';
import type { StoreDir, StorePath } from '@larder/signing/store-path';
import { checkContents } from '../local-store/check-contents.js';
import { deleteTree } from '../local-store/delete-tree.js';
import type { LocalStore, StagedPath } from '../local-store/local-store.js';
import type { FoundPath } from '../source-set.js';
import type { Destination, ReceiveOptions, Reception } from './destination.js';
import { restorePath } from './restore-path.js';

export interface LocalDestinationOptions {
  readonly work: NarWork;
  /** False takes every path, whoever signed it. */
  readonly checksTrust?: boolean;
}

/** Copies into a store on this machine. */
export class LocalDestination implements Destination {
  readonly checksTrust: boolean;
  readonly #store: LocalStore;
  readonly #work: NarWork;
  /** Received and not yet committed; their locks are held. */
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

  async receive(found: FoundPath, { onBytes, signal }: ReceiveOptions): Promise<Reception> {
    const staged = await this.#store.tryStage(found.info.storePath);
    if (staged === undefined) return 'present';
    if (staged === 'busy') return 'busy';
    try {
      const { directory } = staged;
      const fsync = this.#store.fsyncsStorePaths;
      const restore = () => restorePath(found, { work: this.#work, directory, fsync, onBytes, signal });
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
