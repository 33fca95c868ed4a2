import { closeSync, lstatSync, readdirSync, rmSync, unlinkSync } from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type SignedPathInfo, sortByReferences, type ValidPathInfo } from '@larder/signing/path-info';
import { isDerivationPath, isHashPart, type StorePath, storePathHashPart } from '@larder/signing/store-path';
import { deleteTree } from '@larder/substituter/local-store/delete-tree';
import { openLockFile, waitForLock } from '@larder/substituter/local-store/file-lock';
import type { LocalStore } from '@larder/substituter/local-store/local-store';
import { findLinkedRoots, findRuntimeRoots, findTemporaryRoots, type Roots } from './find-roots.js';
import { RootsServer } from './roots-server.js';
import { sizeOnDisk } from './size-on-disk.js';

export interface CollectOptions {
  /** Keep the derivations that living paths were built from (`keep-derivations`). */
  readonly keepDerivations: boolean;
  /** Keep the outputs of living derivations (`keep-outputs`). */
  readonly keepOutputs: boolean;
  /** Only find out what there is to delete. */
  readonly dryRun?: boolean;
  /** Stop once this many bytes are free. */
  readonly maxFreed?: number;
  /** The name of each entry of the store directory before it goes. */
  readonly onDelete?: (name: string) => void;
  readonly onNote?: (text: string) => void;
  /** Called when the roots are known, before anything is deleted. */
  readonly onRootsFound?: () => Promise<void>;
  readonly signal?: AbortSignal;
}

export interface CollectResult {
  /** Names of entries of the store directory that went, or would. */
  readonly deleted: readonly string[];
  /** Bytes on disk. */
  readonly freed: number;
}

/** Everything that keeps paths of a store. */
export function findRoots(store: LocalStore): Roots {
  const roots = findLinkedRoots(store.layout);
  for (const more of [findRuntimeRoots(store.layout), findTemporaryRoots(store.layout)]) {
    for (const [path, places] of more) roots.set(path, new Set([...(roots.get(path) ?? []), ...places]));
  }
  return roots;
}

/**
 * Deletes what no root needs. Other processes, Nix among them, may work on the store meanwhile: they tell what
 * they use before they rely on it, and this spares it.
 */
export async function collectGarbage(store: LocalStore, options: CollectOptions): Promise<CollectResult> {
  const { stateDir } = store.layout;
  const lockPath = `${stateDir}/gc.lock`;
  const lock = openLockFile(lockPath);
  try {
    await waitForLock(lock, 'exclusive', lockPath, {
      onWait: () => options.onNote?.('waiting for another garbage collector'),
      signal: options.signal,
    });
    const collector = new Collector(store, options);
    const server = await RootsServer.start(stateDir, (full) => collector.spare(full));
    try {
      return await collector.run();
    } finally {
      await server.close();
    }
  } finally {
    closeSync(lock);
  }
}

class Collector {
  readonly #store: LocalStore;
  readonly #options: CollectOptions;
  readonly #alive = new Set<StorePath>();
  /** Hash parts of paths that processes use, valid or not: their locks and working directories count too. */
  readonly #inUse = new Set<string>();
  #infos: ReadonlyMap<StorePath, ValidPathInfo> = new Map();
  #pending: { readonly hashPart: string; readonly done: Promise<unknown> } | undefined;
  readonly #deleted: string[] = [];
  #freed = 0;

  constructor(store: LocalStore, options: CollectOptions) {
    this.#store = store;
    this.#options = options;
  }

  /** Takes a root that a process has just told; returns when the path will not be touched (any more). */
  async spare(full: string): Promise<void> {
    if (!this.#store.storeDir.contains(full)) return;
    const path = this.#store.storeDir.parse(full);
    const hashPart = storePathHashPart(path);
    this.#inUse.add(hashPart);
    // Nothing is awaited up to here, so no deletion can begin in between.
    this.#keep(path);
    if (this.#pending?.hashPart === hashPart) await this.#pending.done.catch(() => {});
  }

  async run(): Promise<CollectResult> {
    const store = this.#store;
    const { dryRun } = this.#options;
    // On a full disk the database could not be written; Nix keeps this file for it.
    if (dryRun !== true) rmSync(`${store.layout.stateDir}/db/reserved`, { force: true });
    // Roots first: what becomes valid later and is no root by then is seen as valid, with all it refers to.
    const roots = [...findRoots(store).keys()];
    for (const path of findTemporaryRoots(store.layout).keys()) this.#inUse.add(storePathHashPart(path));
    const paths = await store.queryAllValidPaths();
    const infos = await Promise.all(paths.map((path) => store.queryPathInfo(path)));
    this.#infos = new Map(
      infos.flatMap((info) => (info === undefined ? [] : [[info.storePath, info] as const])),
    );
    for (const path of roots) this.#keep(path);
    for (const path of this.#infos.keys()) if (this.#inUse.has(storePathHashPart(path))) this.#keep(path);
    await this.#options.onRootsFound?.();
    await this.#deleteDeadPaths();
    await this.#deleteInvalid();
    if (dryRun !== true) this.#deleteUnusedLinks();
    return { deleted: this.#deleted, freed: this.#freed };
  }

  /** Marks a path and all it needs as alive. */
  #keep(root: StorePath): void {
    const pending = [root];
    for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
      const info = this.#infos.get(path);
      if (info === undefined || this.#alive.has(path)) continue;
      this.#alive.add(path);
      pending.push(...info.references);
      if (this.#options.keepDerivations && info.deriver !== undefined) pending.push(info.deriver);
      if (this.#options.keepOutputs && isDerivationPath(path)) pending.push(...this.#outputsOf(path));
    }
  }

  #outputs: Map<StorePath, StorePath[]> | undefined;

  /** Valid outputs by derivation; from what the outputs say, which is in memory already. */
  #outputsOf(derivation: StorePath): readonly StorePath[] {
    if (this.#outputs === undefined) {
      this.#outputs = new Map();
      for (const { storePath, deriver } of this.#infos.values()) {
        if (deriver === undefined) continue;
        const outputs = this.#outputs.get(deriver);
        if (outputs === undefined) this.#outputs.set(deriver, [storePath]);
        else outputs.push(storePath);
      }
    }
    return this.#outputs.get(derivation) ?? [];
  }

  /** Paths before what they refer to, so that at any moment what is valid has all it refers to. */
  async #deleteDeadPaths(): Promise<void> {
    const dead: SignedPathInfo[] = [...this.#infos.values()].filter(
      ({ storePath }) => !this.#alive.has(storePath),
    );
    for (const { storePath } of sortByReferences(dead).reverse()) {
      if (this.#isEnough()) return;
      await nextTurn(); // Processes that tell of roots get their turn.
      this.#options.signal?.throwIfAborted();
      if (this.#alive.has(storePath) || this.#inUse.has(storePathHashPart(storePath))) continue;
      await this.#delete(storePath, () => this.#store.invalidate([storePath]));
    }
  }

  /** What has a path's name and is no valid path: left by somebody who died, unless its user lives. */
  async #deleteInvalid(): Promise<void> {
    for (const name of readdirSync(this.#store.layout.realStoreDir)) {
      if (this.#isEnough()) return;
      await nextTurn();
      const hashPart = name.slice(0, 32);
      if (!isHashPart(hashPart) || name[32] !== '-' || this.#inUse.has(hashPart)) continue;
      if ((await this.#store.queryValidPaths([name as StorePath])).size > 0) continue;
      if (this.#deleted.includes(name)) continue;
      if (this.#inUse.has(hashPart)) continue; // Told while the database was asked.
      await this.#delete(name, () => {});
    }
  }

  async #delete(name: string, invalidate: () => void): Promise<void> {
    const { dryRun, onDelete } = this.#options;
    const file = `${this.#store.layout.realStoreDir}/${name}`;
    const size = sizeOnDisk(file);
    onDelete?.(name);
    this.#deleted.push(name);
    this.#freed += size;
    if (dryRun === true) return;
    // Crash invariant: first it is no valid path, then its files go.
    invalidate();
    const done = deleteTree(file);
    this.#pending = { hashPart: name.slice(0, 32), done };
    try {
      await done;
    } finally {
      this.#pending = undefined;
    }
  }

  #isEnough(): boolean {
    return this.#freed >= (this.#options.maxFreed ?? Number.POSITIVE_INFINITY);
  }

  /** Files that `optimise` shares between paths, and that no path has any more. */
  #deleteUnusedLinks(): void {
    const directory = `${this.#store.layout.realStoreDir}/.links`;
    for (const name of readdirSync(directory)) {
      const file = `${directory}/${name}`;
      if (lstatSync(file).nlink === 1) unlinkSync(file);
    }
  }
}
