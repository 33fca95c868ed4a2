import { closeSync, lstatSync, readdirSync, unlinkSync } from 'node:fs';
import { LarderError } from '@larder/signing/errors';
import { isDerivationPath, type StorePath, storePathHashPart } from '@larder/signing/store-path';
import { deleteTree } from '@larder/substituter/local-store/delete-tree';
import { openLockFile, waitForLock } from '@larder/substituter/local-store/file-lock';
import type { LocalStore } from '@larder/substituter/local-store/local-store';
import { findTemporaryRoots } from './find-roots.js';
import { findLivePaths } from './live-paths.js';
import { RootsServer } from './roots-server.js';
import { sizeOnDisk } from './size-on-disk.js';

export interface DeleteOptions {
  readonly keepDerivations: boolean;
  readonly keepOutputs: boolean;
  /** Delete also what a root keeps; not what another path refers to, nor what a process is using. */
  readonly ignoreLiveness: boolean;
  /** Called with the name of each path that is gone and the bytes that freed. */
  readonly onDeleted?: (name: string, bytes: number) => void;
  readonly onNote?: (text: string) => void;
  readonly signal?: AbortSignal;
}

/**
 * Deletes just these paths, those that refer to others first. Others may use the store meanwhile, as with
 * `collectGarbage`.
 * @throws `path-alive` at the first that a root, a process or a path beside these needs; what went before it is gone
 */
export async function deletePaths(
  store: LocalStore,
  paths: readonly StorePath[],
  options: DeleteOptions,
): Promise<void> {
  const { stateDir } = store.layout;
  const lockPath = `${stateDir}/gc.lock`;
  const lock = openLockFile(lockPath);
  try {
    await waitForLock(lock, 'exclusive', lockPath, {
      onWait: () => options.onNote?.('waiting for the big garbage collector lock'),
      signal: options.signal,
    });
    const deletion = new Deletion(store, new Set(paths), options);
    const server = await RootsServer.start(stateDir, (full) => deletion.spare(full));
    try {
      await deletion.run();
    } finally {
      await server.close();
    }
  } finally {
    closeSync(lock);
  }
}

class Deletion {
  readonly #store: LocalStore;
  readonly #wanted: ReadonlySet<StorePath>;
  readonly #options: DeleteOptions;
  readonly #inUse = new Set<string>();
  readonly #deleted = new Set<StorePath>();
  #alive: ReadonlySet<StorePath> = new Set();
  #pending: { readonly hashPart: string; readonly done: Promise<unknown> } | undefined;

  constructor(store: LocalStore, wanted: ReadonlySet<StorePath>, options: DeleteOptions) {
    this.#store = store;
    this.#wanted = wanted;
    this.#options = options;
  }

  /** Takes a root that a process has just told; returns when the path will not be touched (any more). */
  async spare(full: string): Promise<void> {
    if (!this.#store.storeDir.contains(full)) return;
    const hashPart = storePathHashPart(this.#store.storeDir.parse(full));
    this.#inUse.add(hashPart);
    if (this.#pending?.hashPart === hashPart) await this.#pending.done.catch(() => {});
  }

  async run(): Promise<void> {
    for (const path of findTemporaryRoots(this.#store.layout).keys())
      this.#inUse.add(storePathHashPart(path));
    if (!this.#options.ignoreLiveness) this.#alive = await findLivePaths(this.#store, this.#options);
    for (const path of [...this.#wanted].sort()) {
      const dependents = await this.#dependents(path);
      if (dependents === undefined) throw this.#needed(path);
      for (const each of dependents) if (!this.#deleted.has(each)) await this.#delete(each);
    }
    this.#deleteUnusedLinks();
  }

  /** The path and what must go before it, in that order; undefined when something of that is to stay. */
  async #dependents(path: StorePath): Promise<StorePath[] | undefined> {
    const sorted = new Set<StorePath>();
    const seen = new Set<StorePath>();
    const visit = async (each: StorePath): Promise<boolean> => {
      if (seen.has(each)) return true;
      seen.add(each);
      const stays = !this.#wanted.has(each) || this.#alive.has(each);
      if (stays || this.#inUse.has(storePathHashPart(each))) return false;
      for (const dependent of await this.#needing(each)) if (!(await visit(dependent))) return false;
      sorted.add(each);
      return true;
    };
    return (await visit(path)) ? [...sorted] : undefined;
  }

  /** What needs a path: its referrers, and what the settings keep it for. */
  async #needing(path: StorePath): Promise<StorePath[]> {
    const { keepDerivations, keepOutputs, ignoreLiveness } = this.#options;
    const needing = (await this.#store.queryReferrers(path)).filter((each) => each !== path);
    if (ignoreLiveness) return needing;
    if (keepDerivations && isDerivationPath(path)) {
      const outputs = [...(await this.#store.queryDerivationOutputs(path)).values()];
      for (const output of outputs)
        if ((await this.#store.queryPathInfo(output))?.deriver === path) needing.push(output);
    }
    if (keepOutputs) needing.push(...(await this.#store.queryValidDerivers(path)));
    return needing;
  }

  async #delete(path: StorePath): Promise<void> {
    this.#options.signal?.throwIfAborted();
    if (this.#inUse.has(storePathHashPart(path))) throw this.#needed(path);
    const file = this.#store.realPath(path);
    const size = sizeOnDisk(file);
    // Crash invariant: first it is no valid path, then its files go.
    this.#store.invalidate([path]);
    const done = deleteTree(file);
    this.#pending = { hashPart: storePathHashPart(path), done };
    try {
      await done;
    } finally {
      this.#pending = undefined;
    }
    this.#deleted.add(path);
    this.#options.onDeleted?.(path, size);
  }

  #deleteUnusedLinks(): void {
    const directory = `${this.#store.layout.realStoreDir}/.links`;
    for (const name of readdirSync(directory)) {
      const file = `${directory}/${name}`;
      if (lstatSync(file).nlink === 1) unlinkSync(file);
    }
  }

  #needed(path: StorePath): LarderError {
    const full = this.#store.storeDir.format(path);
    return new LarderError(
      'path-alive',
      `Cannot delete path '${full}' since it is still alive. To find out why, use: nix-store --query --roots`,
      { fields: { path } },
    );
  }
}
