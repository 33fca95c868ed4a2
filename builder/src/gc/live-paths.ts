import { isDerivationPath, type StorePath } from '@larder/signing/store-path';
import type { LocalStore } from '@larder/substituter/local-store/local-store';
import { findRoots } from './collect-garbage.js';

export interface LiveOptions {
  /** Keep the derivations that living paths were built from (`keep-derivations`). */
  readonly keepDerivations: boolean;
  /** Keep the outputs of living derivations (`keep-outputs`). */
  readonly keepOutputs: boolean;
}

/** The valid paths that roots keep, with all that these need. */
export async function findLivePaths(
  store: LocalStore,
  { keepDerivations, keepOutputs }: LiveOptions,
): Promise<Set<StorePath>> {
  const alive = new Set<StorePath>();
  const pending = [...findRoots(store).keys()];
  for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
    if (alive.has(path)) continue;
    const info = await store.queryPathInfo(path);
    if (info === undefined) continue;
    alive.add(path);
    pending.push(...info.references);
    if (keepDerivations && info.deriver !== undefined) pending.push(info.deriver);
    if (keepOutputs && isDerivationPath(path))
      pending.push(...(await store.queryDerivationOutputs(path)).values());
  }
  return alive;
}
