import type { Derivation } from '@larder/signing/derivation';
import { hasCode, LarderError } from '@larder/signing/errors';
import type { StorePath } from '@larder/signing/store-path';
import type { BuildContext, InitialOutput } from '../build-job.js';
import type { DerivationOptions } from '../derivation/derivation-options.js';
import { readDerivation } from '../derivation/read-derivation.js';
import { noteRealisations } from './note-realisations.js';
import type { RealisedOutputs, RealiserOptions } from './realiser.js';

/** Brings outputs and other paths of one run from caches, where these have them. */
export class OutputFetcher {
  readonly #context: BuildContext;
  readonly #options: RealiserOptions;
  /** What caches said to have, and did not deliver. */
  readonly #undelivered = new Set<StorePath>();

  constructor(context: BuildContext, options: RealiserOptions) {
    this.#context = context;
    this.#options = options;
  }

  /** Fetches outputs, those too of which only a cache's realisation tells the path. `undefined` where that cannot be. */
  async fetchOutputs(
    path: StorePath,
    wanted: ReadonlyMap<string, InitialOutput>,
    options: DerivationOptions,
  ): Promise<RealisedOutputs | undefined> {
    const { realisations } = this.#options;
    if (!this.#context.settings.substitute || !options.allowsSubstitutes) return undefined;
    const unknown = [...wanted].filter(([, output]) => output.path === undefined).map(([name]) => name);
    const ids = unknown.length === 0 ? undefined : this.#options.knowledge.ids(path);
    const found =
      unknown.length === 0 ? [] : await realisations?.findAll(unknown.map((name) => ids!.get(name)!));
    if (found === undefined) return undefined;
    const invalid = [...wanted.values()].flatMap((output) =>
      output.valid || output.path === undefined ? [] : [output.path],
    );
    if (!(await this.fetch([...invalid, ...found.map(({ outPath }) => outPath)]))) return undefined;
    if (found.length > 0) this.#context.store.realisations.register(found);
    const now = await this.#options.knowledge.query(path, readDerivation(this.#context.store, path));
    return outputPaths(new Map([...now].filter(([name]) => wanted.has(name))));
  }

  /** Caches may have outputs without what these refer to: inputs, which have been built by now. */
  async fetchAfterInputs(
    path: StorePath,
    wanted: ReadonlyMap<string, InitialOutput>,
    options: DerivationOptions,
  ): Promise<RealisedOutputs | undefined> {
    const missing = [...wanted.values()].flatMap((output) => (output.valid ? [] : [output.path]));
    const paths = missing.filter((each) => each !== undefined);
    if (paths.length < missing.length || paths.some((each) => this.#undelivered.has(each))) return undefined;
    if ((await this.#options.substituter?.isKnown(paths)) !== true) return undefined;
    const outputs = await this.fetchOutputs(path, wanted, options);
    if (outputs !== undefined)
      await noteRealisations(this.#context, this.#options.knowledge, { path, outputs, withInputs: false });
    return outputs;
  }

  /**
   * Fetches paths with all they refer to, or tells that this cannot be: they must be built then.
   * @throws `fetch-failed` when caches that said to have them did not deliver, unless that may be built instead
   */
  async fetch(paths: readonly StorePath[]): Promise<boolean> {
    const { substituter, onEvent } = this.#options;
    if (substituter === undefined || !this.#context.settings.substitute) return false;
    for (let tries = 0; tries < 2; tries++) {
      const closure = await substituter.queryClosure(paths);
      if (closure === undefined) return false;
      try {
        await substituter.fetch(closure);
        return true;
      } catch (error) {
        this.#options.signal.throwIfAborted();
        // Fetched together with others, one of which failed: these may be here, or come on their own.
        if ((await this.#context.store.queryMissing(paths)).size === 0) return true;
        if (tries === 0) continue;
        for (const path of paths) this.#undelivered.add(path);
        const reason = `cannot fetch ${paths.join(', ')}: ${(error as Error).message}`;
        // An archive that is gone is as if it had never been there; with others, the next try may do better.
        if (!this.#context.settings.fallback && !hasCode(error, 'cache-file-missing')) {
          throw new LarderError('fetch-failed', `${reason}; --fallback has it built from source`, {
            cause: error,
            fields: { path: paths[0] },
          });
        }
        onEvent({ type: 'note', text: `${reason}; trying to build it` });
      }
    }
    return false;
  }

  /** Fetches a fixed output from a cache for stores in another directory. */
  async fetchForeign(derivation: Derivation, wanted: ReadonlyMap<string, InitialOutput>): Promise<boolean> {
    const [only, ...others] = wanted;
    if (this.#options.foreign === undefined || only === undefined || others.length > 0) return false;
    const [name, { path }] = only;
    return path !== undefined && this.#options.foreign.fetch(derivation, name, path);
  }
}

/** The paths of outputs, which are known. */
export function outputPaths(outputs: ReadonlyMap<string, InitialOutput>): RealisedOutputs {
  return new Map([...outputs].map(([name, { path }]) => [name, path!]));
}
