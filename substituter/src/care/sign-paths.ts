import { LarderError } from '@larder/signing/errors';
import type { SecretKey } from '@larder/signing/key';
import { formatNarInfo } from '@larder/signing/narinfo';
import { type StorePath, storePathHashPart } from '@larder/signing/store-path';
import { signPathInfo } from '@larder/signing/trust';
import { BinaryCache } from '../binary-cache/binary-cache.js';
import { fileContents } from '../binary-cache/cache-files.js';
import { mapConcurrently } from '../concurrency.js';
import type { DaemonStore } from '../daemon/daemon-store.js';
import type { LocalStore } from '../local-store/local-store.js';

export interface SignOptions {
  readonly keys: readonly SecretKey[];
  /** Paths under way at a time. */
  readonly concurrency: number;
  readonly signal?: AbortSignal;
}

/**
 * Adds a signature by each key to each path, where the store or cache keeps them; signatures that are there stay.
 * Gives how many paths had none by one of the keys. What is signed is what the store says of the path: its contents
 * are not read.
 * @throws `path-not-found`
 */
export async function signPaths(
  store: BinaryCache | LocalStore | DaemonStore,
  paths: readonly StorePath[],
  { keys, concurrency, signal }: SignOptions,
): Promise<number> {
  const signed = await mapConcurrently(paths, concurrency, async (path) => {
    signal?.throwIfAborted();
    return signPath(store, path, { keys, signal });
  });
  return signed.filter(Boolean).length;
}

async function signPath(
  store: BinaryCache | LocalStore | DaemonStore,
  path: StorePath,
  { keys, signal }: Pick<SignOptions, 'keys' | 'signal'>,
): Promise<boolean> {
  if (store instanceof BinaryCache) {
    const info = await store.queryPathInfo(path, { signal });
    if (info === undefined) throw notFound(path, store.uri);
    const signed = signPathInfo(info, keys, store.storeDir);
    if (signed.signatures.length === info.signatures.length) return false;
    await store.files.write(
      `${storePathHashPart(path)}.narinfo`,
      fileContents(formatNarInfo(signed, store.storeDir)),
      { contentType: 'text/x-nix-narinfo', signal },
    );
    return true;
  }
  const info = await store.queryPathInfo(path);
  if (info === undefined) throw notFound(path, store.uri);
  const { signatures } = signPathInfo(info, keys, store.storeDir);
  const added = signatures.filter((signature) => !info.signatures.includes(signature));
  if (added.length > 0) await store.addSignatures(path, added);
  return added.length > 0;
}

function notFound(path: StorePath, uri: string): LarderError {
  return new LarderError('path-not-found', `${uri} does not have ${path}`, { fields: { path } });
}
