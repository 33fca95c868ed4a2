import type { Hash } from '@larder/signing/hash';
import type { ValidPathInfo } from '@larder/signing/path-info';
import type { StorePath } from '@larder/signing/store-path';
import type { LocalStore } from '@larder/substituter/local-store/local-store';
import { BuildFailure } from '../build-failure.js';

export interface BuildRoundsOptions {
  readonly store: LocalStore;
  readonly derivation: StorePath;
  /** Builds in addition to the first. */
  readonly repeat: number;
  /** Whether different outputs are an error; otherwise they are told of, and the last ones are kept. */
  readonly enforce: boolean;
  readonly onNote: (text: string) => void;
}

/**
 * Builds of one derivation, one after the other, whose outputs must be the same before the last are kept: what the
 * setting `repeat` asks for. Reference: `nrRounds` in `local-derivation-goal.cc`.
 */
export class BuildRounds {
  readonly #options: BuildRoundsOptions;
  #left: number;
  #previous: ReadonlyMap<string, Hash> | undefined;

  constructor(options: BuildRoundsOptions) {
    this.#options = options;
    this.#left = options.repeat;
  }

  /**
   * Takes what a round made; tells whether its outputs are to be kept, as those of the last are.
   * @throws BuildFailure `rounds-differ`
   */
  finish(infos: ReadonlyMap<string, ValidPathInfo>): boolean {
    const { store, derivation, enforce, onNote } = this.#options;
    for (const [name, { narHash, storePath }] of infos) {
      if (this.#previous?.get(name)?.equals(narHash) !== false) continue;
      const text = `output '${store.storeDir.format(storePath)}' of '${store.storeDir.format(derivation)}' differs from previous round`;
      if (enforce) throw new BuildFailure('rounds-differ', text, { derivation, path: storePath });
      onNote(text);
      return true;
    }
    this.#previous = new Map([...infos].map(([name, { narHash }]) => [name, narHash]));
    return this.#left-- <= 0;
  }
}
