import { decompress } from '@larder/signing/codec';
import { Hasher } from '@larder/signing/hash';
import type { PathInfo } from '@larder/signing/path-info';
import type { StoreDir, StorePath } from '@larder/signing/store-path';
import type { Destination, ReceiveOptions, Reception } from '../copy/destination.js';
import { checkNar } from '../copy/nar-mismatch.js';
import type { FoundPath } from '../source-set.js';
import type { DaemonStore } from './daemon-store.js';

/**
 * Copies into the store behind Nix's daemon. A path is valid as soon as the daemon has it whole, so each waits here
 * until all it refers to is: receiving is what makes it visible, and a commit only lets its referrers go on.
 */
export class DaemonDestination implements Destination {
  readonly checksTrust: boolean;
  readonly #store: DaemonStore;
  readonly #substitute: boolean;
  /** Paths that were missing when asked for, each with who waits for it. */
  readonly #pending = new Map<StorePath, Waiters>();

  constructor(
    store: DaemonStore,
    options: { readonly checksTrust?: boolean; readonly substitute?: boolean } = {},
  ) {
    const { checksTrust = true, substitute = false } = options;
    this.#store = store;
    this.#substitute = substitute;
    this.checksTrust = checksTrust;
  }

  get uri(): string {
    return this.#store.uri;
  }

  get storeDir(): StoreDir {
    return this.#store.storeDir;
  }

  async queryMissing(paths: readonly StorePath[]): Promise<ReadonlySet<StorePath>> {
    const valid = await this.#store.queryValidPaths(paths, { substitute: this.#substitute });
    const missing = new Set(paths.filter((path) => !valid.has(path)));
    for (const path of missing) if (!this.#pending.has(path)) this.#pending.set(path, new Waiters());
    return missing;
  }

  async receive(found: FoundPath, { onBytes, signal }: ReceiveOptions): Promise<Reception> {
    const { info, source } = found;
    for (const path of info.references) {
      if (path !== info.storePath) await this.#pending.get(path)?.wait(signal);
    }
    const { compression, bytes } = source.openPacked(info, { signal });
    await this.#store.addToStore({
      info,
      nar: checked(found, decompress(bytes, compression, { signal }), onBytes),
      checkSignatures: this.checksTrust,
    });
    return 'received';
  }

  async commit(infos: readonly PathInfo[]): Promise<void> {
    for (const { storePath } of infos) {
      this.#pending.get(storePath)?.wake();
      this.#pending.delete(storePath);
    }
  }

  /** Nothing to undo: the daemon has verified it, and its garbage collector takes what nobody needs. */
  async discard(): Promise<void> {}

  async close(): Promise<void> {
    await this.#store.close();
  }
}

/** Counts and hashes on the way, so that a bad source is told from a bad daemon. */
async function* checked(
  found: FoundPath,
  nar: AsyncIterable<Uint8Array>,
  onBytes: ReceiveOptions['onBytes'],
): AsyncGenerator<Uint8Array, void, undefined> {
  const hasher = new Hasher('sha256');
  for await (const chunk of nar) {
    hasher.update(chunk);
    onBytes(chunk.length);
    yield chunk;
  }
  checkNar(found, { narHash: hasher.digest(), narSize: hasher.size });
}

class Waiters {
  readonly #waiting = new Set<() => void>();

  wait(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const finish = (): void => {
        signal.removeEventListener('abort', abort);
        resolve();
      };
      const abort = (): void => {
        this.#waiting.delete(finish);
        reject(signal.reason as Error);
      };
      if (signal.aborted) return abort();
      signal.addEventListener('abort', abort, { once: true });
      this.#waiting.add(finish);
    });
  }

  wake(): void {
    for (const finish of this.#waiting) finish();
  }
}
