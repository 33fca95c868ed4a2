import { type PathInfo, sortByReferences, type ValidPathInfo } from '@larder/signing/path-info';
import { isDerivationPath, type StorePath } from '@larder/signing/store-path';
import type { MachineStore } from '@larder/substituter/store';
import { queryValid } from './store-arguments.js';

/** Which edges a closure follows besides references. */
export interface ClosureEdges {
  /** From derivations to their valid outputs. */
  readonly outputs?: boolean;
}

/** All that the paths need, themselves included. @throws `path-not-valid` */
export async function queryRequisites(
  store: MachineStore,
  roots: Iterable<StorePath>,
  { outputs = false }: ClosureEdges = {},
): Promise<Map<StorePath, ValidPathInfo>> {
  const all = [...roots];
  const found = new Map<StorePath, ValidPathInfo>();
  if (!outputs) {
    for (const root of all) await queryValid(store, root);
    for (const info of await store.queryClosure(all)) found.set(info.storePath, info);
    return found;
  }
  for (let path = all.pop(); path !== undefined; path = all.pop()) {
    if (found.has(path)) continue;
    const info = await queryValid(store, path);
    found.set(path, info);
    all.push(...info.references);
    if (isDerivationPath(path)) all.push(...(await queryValidOutputs(store, path)));
  }
  return found;
}

/** A derivation's outputs that are valid. */
export async function queryValidOutputs(store: MachineStore, derivation: StorePath): Promise<StorePath[]> {
  const outputs = (await store.queryDerivationOutputs(derivation)).values();
  return [...(await store.queryValidPaths(outputs))];
}

export interface ReferrerEdges {
  /** From outputs to the derivations that make them (`keep-outputs`). */
  readonly derivers: boolean;
  /** From derivations to their outputs (`keep-derivations`). */
  readonly outputs: boolean;
}

/** All that needs the paths, themselves included. @throws `path-not-valid` */
export async function queryDependents(
  store: MachineStore,
  roots: Iterable<StorePath>,
  edges: ReferrerEdges = { derivers: false, outputs: false },
): Promise<Set<StorePath>> {
  const pending = [...roots];
  const found = new Set<StorePath>();
  for (const root of pending) await queryValid(store, root);
  for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
    if (found.has(path)) continue;
    found.add(path);
    pending.push(...(await store.queryReferrers(path)));
    if (edges.derivers) pending.push(...(await store.queryValidDerivers(path)));
    if (edges.outputs && isDerivationPath(path)) pending.push(...(await queryValidOutputs(store, path)));
  }
  return found;
}

/** Paths with references first, in Nix's order; paths that are not valid have none. */
export async function sortPaths(store: MachineStore, paths: Iterable<StorePath>): Promise<StorePath[]> {
  const infos = await Promise.all(
    [...new Set(paths)].map(
      async (storePath): Promise<Pick<PathInfo, 'storePath' | 'references'>> =>
        (await store.queryPathInfo(storePath)) ?? { storePath, references: [] },
    ),
  );
  return sortByReferences(infos as PathInfo[]).map(({ storePath }) => storePath);
}
