import { readFileSync } from 'node:fs';
import { type Derivation, derivationOutputPath, parseDerivation } from '@larder/signing/derivation';
import { computeDerivationModulo, type DerivationModulo } from '@larder/signing/derivation-hash';
import type { StorePath } from '@larder/signing/store-path';
import type { LocalStore } from '@larder/substituter/local-store/local-store';
import type { InitialOutput } from '../build-job.js';
import type { BuildSettings } from '../build-settings.js';

/**
 * What outputs derivations have, as far as that is known before they are built: from the derivations themselves, and from
 * realisations, which tell what outputs came out as whose path only a build gives. Derivations are read once.
 */
export class OutputKnowledge {
  readonly #store: LocalStore;
  readonly #enabled: boolean;
  readonly #modulos = new Map<StorePath, DerivationModulo>();

  constructor(store: LocalStore, settings: Pick<BuildSettings, 'experimentalFeatures'>) {
    this.#store = store;
    this.#enabled = settings.experimentalFeatures.has('ca-derivations');
  }

  /** Whether realisations are looked at, and noted: the setting `experimental-features` has `ca-derivations`. */
  get enabled(): boolean {
    return this.#enabled;
  }

  /** The state of a derivation's outputs. */
  async query(path: StorePath, derivation: Derivation): Promise<Map<string, InitialOutput>> {
    const ids = this.ids(path);
    const known = new Map<string, StorePath | undefined>();
    for (const name of derivation.outputs.keys()) {
      const own = derivationOutputPath(derivation, name, this.#store.storeDir);
      known.set(name, own ?? this.#realised(ids?.get(name)));
    }
    const valid = await this.#store.queryValidPaths([...known.values()].filter((each) => each !== undefined));
    return new Map(
      [...known].map(([name, output]) => [
        name,
        { path: output, valid: output !== undefined && valid.has(output) },
      ]),
    );
  }

  /** What realisations of these outputs are called, or `undefined` where they are not looked at. */
  ids(path: StorePath): ReadonlyMap<string, string> | undefined {
    if (!this.#enabled) return undefined;
    const { hashes } = this.#maskedModulo(path);
    return new Map([...hashes].map(([name, hash]) => [name, `${hash.format('base16')}!${name}`]));
  }

  #realised(id: string | undefined): StorePath | undefined {
    return id === undefined ? undefined : this.#store.realisations.query(id)?.outPath;
  }

  /** By this a realisation is named: the derivation's hash with its own outputs left out. */
  #maskedModulo(path: StorePath): DerivationModulo {
    return computeDerivationModulo(this.read(path), this.#store.storeDir, {
      maskOutputs: true,
      inputModulo: (input) => this.modulo(input),
    });
  }

  /** By this a derivation counts as an input of others. */
  modulo(path: StorePath): DerivationModulo {
    let modulo = this.#modulos.get(path);
    if (modulo === undefined) {
      modulo = computeDerivationModulo(this.read(path), this.#store.storeDir, {
        inputModulo: (input) => this.modulo(input),
      });
      this.#modulos.set(path, modulo);
    }
    return modulo;
  }

  /** A derivation with its strings as text: hashing encodes them again. */
  read(path: StorePath): Derivation {
    return parseDerivation(readFileSync(this.#store.realPath(path), 'utf8'), path, this.#store.storeDir);
  }
}
