import { lstatSync } from 'node:fs';
import type { StorePath } from '@larder/signing/store-path';
import type { LocalStore } from '@larder/substituter/local-store/local-store';
import type { SandboxPath } from '../build-settings.js';
import type { Mount } from './sandbox-tree.js';

/**
 * The mounts of `sandbox-paths`. Those that come from the store bring their closure along, but for what the build
 * has as inputs anyway or makes itself (`except`).
 */
export async function querySandboxMounts(
  store: LocalStore,
  paths: ReadonlyMap<string, SandboxPath>,
  except: ReadonlySet<StorePath>,
): Promise<Mount[]> {
  const mounts: Mount[] = [];
  const roots: StorePath[] = [];
  for (const [target, { source, mayMiss }] of paths) {
    if (source === '/proc') continue; // There is one already; old configurations ask for it.
    if (!source.startsWith(`${store.storeDir.path}/`)) {
      mounts.push({ source, target, mayMiss });
      continue;
    }
    const { storePath, rest } = store.storeDir.parseWithin(source);
    roots.push(storePath);
    if (target !== store.storeDir.format(storePath)) {
      mounts.push({ source: store.realPath(storePath) + rest, target, mayMiss });
    }
  }
  for (const { storePath } of await store.queryClosure(roots)) {
    const source = store.realPath(storePath);
    if (except.has(storePath) || lstatSync(source).isSymbolicLink()) continue;
    mounts.push({ source, target: store.storeDir.format(storePath) });
  }
  return mounts;
}
