import { decompress } from '@larder/signing/codec';
import { makeContentAddressedPath, outputPathName } from '@larder/signing/content-address';
import type { Derivation } from '@larder/signing/derivation';
import type { PathInfo } from '@larder/signing/path-info';
import type { StorePath } from '@larder/signing/store-path';
import type { BinaryCache } from '@larder/substituter/binary-cache/binary-cache';
import { addNar } from '@larder/substituter/local-store/add-path';
import type { LocalStore } from '@larder/substituter/local-store/local-store';

export interface ForeignOptions {
  readonly store: LocalStore;
  readonly onNote: (text: string) => void;
  readonly signal: AbortSignal;
}

/**
 * Caches for stores in other directories. Their paths have other names than ours, but for what is known beforehand the
 * name there follows from the contents: fixed outputs, which refer to nothing, can be fetched from them.
 */
export class ForeignCaches {
  readonly #caches: readonly BinaryCache[];
  readonly #options: ForeignOptions;

  constructor(caches: readonly BinaryCache[], options: ForeignOptions) {
    this.#caches = caches;
    this.#options = options;
  }

  /** Fetches a fixed output under its name here; false when no cache has it. What comes is checked against its hash. */
  async fetch(derivation: Derivation, output: string, path: StorePath): Promise<boolean> {
    const kind = derivation.outputs.get(output);
    if (kind?.type !== 'fixed') return false;
    const name = outputPathName(derivation.name, output);
    for (const cache of this.#caches) {
      const { signal, onNote } = this.#options;
      try {
        const there = makeContentAddressedPath(cache.storeDir, name, kind.ca);
        const info = await cache.queryPathInfo(there, { signal });
        if (info === undefined || info.references.length > 0) continue;
        await this.#add(cache, info, {
          ...info,
          storePath: path,
          ca: kind.ca,
          deriver: undefined,
          signatures: [],
        });
        return true;
      } catch (error) {
        signal.throwIfAborted();
        onNote(`cannot fetch ${path} from ${cache.uri}: ${(error as Error).message}`);
      }
    }
    return false;
  }

  async #add(cache: BinaryCache, there: PathInfo, here: PathInfo): Promise<void> {
    const { store, signal } = this.#options;
    const { compression, bytes } = cache.openPacked(there, { signal });
    await addNar(store, here, decompress(bytes, compression, { signal }));
  }
}
