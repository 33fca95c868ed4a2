import { LarderError } from '@larder/signing/errors';
import {
  formatRealisationFingerprint,
  parseRealisation,
  type Realisation,
  realisationKey,
} from '@larder/signing/realisation';
import type { StorePath } from '@larder/signing/store-path';
import type { Trust } from '@larder/signing/trust';
import type { BinaryCache } from '@larder/substituter/binary-cache/binary-cache';
import type { LocalStore } from '@larder/substituter/local-store/local-store';

export interface RealisationSourceOptions {
  readonly store: LocalStore;
  readonly caches: readonly BinaryCache[];
  readonly trusted: Trust;
  readonly requireSignatures: boolean;
  readonly onNote: (text: string) => void;
  readonly signal?: AbortSignal;
}

/**
 * Asks caches what outputs came out as. What a path is can be checked by its contents; which derivation it comes of cannot,
 * so a realisation needs a signature that is trusted.
 */
export class RealisationSource {
  readonly #options: RealisationSourceOptions;
  readonly #asked = new Map<string, Promise<Realisation | undefined>>();

  constructor(options: RealisationSourceOptions) {
    this.#options = options;
  }

  /**
   * Realisations to note for these outputs to be known, those they depend on first; `undefined` when some is in no cache, or
   * says something else than this store knows.
   */
  async findAll(ids: readonly string[]): Promise<Realisation[] | undefined> {
    const { store } = this.#options;
    const found = new Map<string, Realisation>();
    const visit = async (id: string, expected?: StorePath): Promise<boolean> => {
      const here = found.get(id) ?? store.realisations.query(id);
      if (here !== undefined) return expected === undefined || here.outPath === expected;
      const realisation = await this.find(id);
      if (realisation === undefined || (expected !== undefined && realisation.outPath !== expected))
        return false;
      for (const [other, path] of Object.entries(realisation.dependentRealisations)) {
        if (other !== id && !(await visit(other, path))) return false;
      }
      found.set(id, realisation);
      return true;
    };
    for (const id of ids) if (!(await visit(id))) return undefined;
    return [...found.values()];
  }

  /** What the first cache says that has a trusted answer; asked once. */
  find(id: string): Promise<Realisation | undefined> {
    const asked = this.#asked.get(id) ?? this.#find(id);
    this.#asked.set(id, asked);
    return asked;
  }

  async #find(id: string): Promise<Realisation | undefined> {
    const { caches, onNote, signal } = this.#options;
    for (const cache of caches) {
      try {
        const file = await cache.files.read(realisationKey(id), { signal });
        if (file === undefined) continue;
        const realisation = parseRealisation(Buffer.from(file).toString('utf8'), `${id}.doi of ${cache.uri}`);
        if (realisation.id === id && this.#isTrusted(realisation)) return realisation;
        onNote(`${cache.uri} has a realisation of ${id} that no trusted key signed: it is not used`);
      } catch (error) {
        signal?.throwIfAborted();
        if (!(error instanceof LarderError)) throw error;
        onNote(error.message);
      }
    }
    return undefined;
  }

  #isTrusted(realisation: Realisation): boolean {
    const { trusted, requireSignatures } = this.#options;
    if (!requireSignatures) return true;
    return trusted.verifyText(formatRealisationFingerprint(realisation), realisation.signatures).length > 0;
  }
}
