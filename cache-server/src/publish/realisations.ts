import {
  formatBuildTrace,
  formatRealisation,
  parseBuildTrace,
  parseRealisation,
  type Realisation,
} from '@larder/signing/realisation';
import type { StorePath } from '@larder/signing/store-path';
import type { Cache } from '../caches/cache.js';
import { ServerError } from '../errors.js';
import { KeyedLock } from '../keyed-lock.js';
import { objectKeys } from '../storage/object-key.js';
import { type ObjectStorage, readObject } from '../storage/storage.js';

/** How one generation of the format is read and written. */
interface Generation {
  parse(text: string): Realisation;
  format(realisation: Realisation): string;
}

/**
 * Realisations of either generation. They are kept as they come, with their own signatures: which path a derivation came out
 * as cannot be verified here, so the cache's key does not vouch for it. The first one stays; signatures for the same path
 * are added to it.
 */
export class Realisations {
  readonly #storage: ObjectStorage;
  readonly #locks = new KeyedLock();

  constructor(storage: ObjectStorage) {
    this.#storage = storage;
  }

  /** Takes `realisations/<id>.doi`, up to Nix 2.34. @throws `realisation-malformed` */
  async put(cache: Cache, id: string, text: string): Promise<void> {
    const generation: Generation = {
      parse: (content) => parseRealisation(content, `${id}.doi`),
      format: formatRealisation,
    };
    const realisation = generation.parse(text);
    if (realisation.id !== id)
      throw new ServerError('request-malformed', `${id}.doi is about ${realisation.id}`);
    await this.#keep(objectKeys.realisation(cache.name, id), realisation, generation);
  }

  /** Takes `build-trace-v2/<drv>/<output>.doi`, from Nix 2.35. @throws `realisation-malformed` */
  async putBuildTrace(
    cache: Cache,
    at: { readonly derivation: StorePath; readonly output: string },
    text: string,
  ): Promise<void> {
    const generation: Generation = {
      parse: (content) => parseBuildTrace(content, at),
      format: formatBuildTrace,
    };
    const key = objectKeys.buildTrace(cache.name, at.derivation, at.output);
    await this.#keep(key, generation.parse(text), generation);
  }

  async #keep(key: string, realisation: Realisation, generation: Generation): Promise<void> {
    await this.#locks.run([key], async () => {
      const kept = await readObject(this.#storage, key);
      const merged = kept === undefined ? realisation : merge(generation.parse(kept.toString()), realisation);
      if (merged === undefined) return;
      await this.#storage.put(key, Buffer.from(generation.format(merged)), {
        contentType: 'application/json',
      });
    });
  }
}

/** `undefined` when there is nothing to add. */
function merge(kept: Realisation, added: Realisation): Realisation | undefined {
  if (kept.outPath !== added.outPath) return undefined;
  const signatures = new Set([...kept.signatures, ...added.signatures]);
  return signatures.size === kept.signatures.length ? undefined : { ...kept, signatures: [...signatures] };
}
