import { resolve } from 'node:path';
import type { StorePath } from '@larder/signing/store-path';
import { addIndirectRoot } from '@larder/substituter/local-store/gc-roots';
import type { ToolSession, ToolStore } from './session.js';

/** Makes a link to a path, which keeps it from garbage collection; gives the link's full path. */
export async function addRoot(store: ToolStore, link: string, path: StorePath): Promise<string> {
  const full = resolve(link);
  if ('layout' in store) addIndirectRoot(store.layout, full, path);
  else {
    const { makeRootLink } = await import('@larder/substituter/local-store/gc-roots');
    makeRootLink(store.storeDir, full, path);
    await store.addIndirectRoot(full);
  }
  return full;
}

let warned = false;

/** Says once that a result is no root. */
export function warnOfMissingRoot(session: ToolSession): void {
  if (warned || !session.arguments.gcWarning) return;
  warned = true;
  session.warn("you did not specify '--add-root'; the result might be removed by the garbage collector");
}
