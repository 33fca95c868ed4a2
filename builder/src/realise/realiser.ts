import { derivationOutputPath } from '@larder/signing/derivation';
import { LarderError } from '@larder/signing/errors';
import type { StorePath } from '@larder/signing/store-path';
import { BuildFailure } from '../build-failure.js';
import type { BuildContext, BuildJob, BuildMode, InitialOutput } from '../build-job.js';
import { isFixed } from '../derivation/build-environment.js';
import { DerivationOptions } from '../derivation/derivation-options.js';
import { mustResolve, requireFeatures } from '../derivation/known-paths.js';
import { readDerivation } from '../derivation/read-derivation.js';
import type { RemoteBuilders } from '../machines/remote-builders.js';
import type { BuildListener } from './build-event.js';
import { BuildQueue } from './build-queue.js';
import type { ForeignCaches } from './foreign-caches.js';
import { noteRealisations } from './note-realisations.js';
import { OutputFetcher, outputPaths } from './output-fetcher.js';
import type { OutputKnowledge } from './output-knowledge.js';
import type { RealisationSource } from './realisation-source.js';
import { type InputOutputs, resolveDerivation } from './resolve-derivation.js';
import type { Substituter } from './substituter.js';
import { type Target, targetKey } from './targets.js';

export interface RealiserOptions {
  /** Absent when nothing may be fetched. */
  readonly substituter?: Substituter;
  /** Absent when nothing may be fetched, or no output is known by its contents. */
  readonly realisations?: RealisationSource;
  readonly knowledge: OutputKnowledge;
  /** Absent when no cache is for stores in another directory. */
  readonly foreign?: ForeignCaches;
  /** Absent when there are no other machines to build on. */
  readonly remote?: RemoteBuilders;
  /** `check` and `repair` build the targets themselves again. */
  readonly mode: BuildMode;
  readonly onEvent: BuildListener;
  /** Aborted when a failure stops everything. */
  readonly abort: AbortController;
  /** Aborted by that, or by the user. */
  readonly signal: AbortSignal;
}

/** Output paths by output name. */
export type RealisedOutputs = ReadonlyMap<string, StorePath>;

/**
 * Makes paths valid: from caches where they have them, else by building, several builds at a time. Each path is
 * fetched and each derivation built once however often it is asked for.
 */
export class Realiser {
  readonly #context: BuildContext;
  readonly #options: RealiserOptions;
  readonly #builds: BuildQueue;
  readonly #fetcher: OutputFetcher;
  readonly #knowledge: OutputKnowledge;
  readonly #abort: AbortController;
  readonly #goals = new Map<string, Promise<RealisedOutputs>>();
  readonly #paths = new Map<StorePath, Promise<void>>();

  constructor(context: BuildContext, options: RealiserOptions) {
    this.#context = context;
    this.#options = options;
    this.#builds = new BuildQueue(context, options);
    this.#fetcher = new OutputFetcher(context, options);
    this.#knowledge = options.knowledge;
    this.#abort = options.abort;
  }

  /** Builds that failed, in the order they did. */
  get failures(): readonly BuildFailure[] {
    return this.#builds.failures;
  }

  /**
   * Realises a target and gives its outputs; a plain path's own under `out`. After a failure everything else
   * stops, unless the settings say to keep going.
   * @throws BuildFailure, and `path-not-found` for a path that nobody has
   */
  async realise(target: Target): Promise<RealisedOutputs> {
    try {
      if (target.type === 'derivation')
        return await this.#derivation(target.path, target.outputs, this.#options.mode);
      await this.#path(target.path);
      return new Map([['out', target.path]]);
    } catch (error) {
      if (!this.#context.settings.keepGoing) this.#abort.abort();
      throw error;
    }
  }

  /** Waits until nothing is under way any more. */
  async settle(): Promise<void> {
    for (let seen = -1; seen !== this.#goals.size + this.#paths.size; ) {
      seen = this.#goals.size + this.#paths.size;
      await Promise.allSettled([...this.#goals.values(), ...this.#paths.values()]);
    }
  }

  #path(path: StorePath): Promise<void> {
    const running = this.#paths.get(path) ?? this.#realisePath(path);
    this.#paths.set(path, running);
    return running;
  }

  async #realisePath(path: StorePath): Promise<void> {
    const { store } = this.#context;
    if ((await store.queryMissing([path])).size === 0 || (await this.#fetcher.fetch([path]))) return;
    throw new LarderError(
      'path-not-found',
      `path '${store.storeDir.format(path)}' does not exist and cannot be created: no cache has it with all it refers to`,
      { fields: { path } },
    );
  }

  #derivation(
    path: StorePath,
    outputs: readonly string[] | undefined,
    mode: BuildMode = 'build',
  ): Promise<RealisedOutputs> {
    const key = `${mode} ${targetKey(path, outputs)}`;
    const running = this.#goals.get(key) ?? this.#realiseDerivation(path, outputs, mode);
    this.#goals.set(key, running);
    return running;
  }

  async #realiseDerivation(
    path: StorePath,
    outputs: readonly string[] | undefined,
    mode: BuildMode,
  ): Promise<RealisedOutputs> {
    const { store } = this.#context;
    await this.#path(path);
    const derivation = readDerivation(store, path);
    requireFeatures(path, derivation, this.#knowledge);
    // Rooted first and looked at then: what is valid now stays so.
    await store.addTempRoots(
      [...derivation.outputs.keys()].flatMap(
        (name) => derivationOutputPath(derivation, name, store.storeDir) ?? [],
      ),
    );
    const known = await this.#knowledge.query(path, derivation);
    const wanted = pickWanted(path, known, outputs);
    const options = new DerivationOptions(derivation);
    if (mode === 'check') this.#requireValid(path, known);
    else if (mode === 'build') {
      const present = [...wanted.values()].every(({ valid }) => valid)
        ? outputPaths(wanted)
        : await this.#fetcher.fetchOutputs(path, wanted, options);
      if (present !== undefined) {
        await noteRealisations(this.#context, this.#knowledge, { path, outputs: present, withInputs: false });
        return present;
      }
      if (options.allowsSubstitutes && (await this.#fetcher.fetchForeign(derivation, wanted)))
        return outputPaths(wanted);
    }
    const job = { path, derivation, options, mode };
    const inputs = await this.#realiseInputs(job);
    const late = mode === 'build' ? await this.#fetcher.fetchAfterInputs(path, wanted, options) : undefined;
    if (late !== undefined) return late;
    if (this.#knowledge.enabled && mustResolve(derivation)) {
      return this.#realiseResolved(job, inputs, [...wanted.keys()]);
    }
    const built = await this.#builds.run({ ...job, inputs: await this.#closeOver(job, inputs) });
    return new Map([...built].filter(([name]) => wanted.has(name)));
  }

  /** Builds a derivation by way of its resolved form, which may have been built before. */
  async #realiseResolved(
    { path, derivation, mode }: Pick<BuildJob, 'path' | 'derivation' | 'mode'>,
    inputs: InputOutputs,
    wanted: readonly string[],
  ): Promise<RealisedOutputs> {
    const resolved = await resolveDerivation(this.#knowledge.read(path), inputs, this.#context.store);
    const outputs = await this.#derivation(resolved, wanted, mode);
    const withInputs = !isFixed(derivation);
    await noteRealisations(this.#context, this.#knowledge, { path, outputs, withInputs });
    await this.#builds.runHook(path, outputs);
    return outputs;
  }

  /** Realises all inputs and gives what they came out as. */
  async #realiseInputs({ path, derivation }: Pick<BuildJob, 'path' | 'derivation'>): Promise<InputOutputs> {
    const found = new Map<StorePath, RealisedOutputs>();
    const wanted = [...derivation.inputDerivations].map(async ([input, names]) => {
      found.set(input, await this.#derivation(input, [...names]));
    });
    const sources = [...derivation.inputSources].map((source) => this.#path(source));
    await this.#allInputs(path, [...wanted, ...sources]);
    return found;
  }

  /** The closure of what a build asked for. */
  async #closeOver(
    { derivation }: Pick<BuildJob, 'derivation'>,
    inputs: InputOutputs,
  ): Promise<Set<StorePath>> {
    const roots = new Set(derivation.inputSources);
    for (const outputs of inputs.values()) for (const path of outputs.values()) roots.add(path);
    return new Set((await this.#context.store.queryClosure(roots)).map(({ storePath }) => storePath));
  }

  async #allInputs(path: StorePath, inputs: readonly Promise<void>[]): Promise<void> {
    const { store, settings } = this.#context;
    if (!settings.keepGoing) {
      for (const input of inputs) {
        input.catch(() => this.#abort.abort()); // What fails first stops the rest.
      }
    }
    const results = await Promise.allSettled(inputs);
    const failed = results.flatMap((result) =>
      result.status === 'rejected' ? [result.reason as Error] : [],
    );
    if (failed.length === 0) return;
    const own = failed.filter((error) => !isCancellation(error));
    // Failed builds were told of when they failed; anything else is told by whoever asked for all this.
    const other = own.find((error) => !(error instanceof BuildFailure));
    if (other !== undefined) throw other;
    throw new BuildFailure(
      'dependency-failed',
      `${own.length || failed.length} dependencies of derivation '${store.storeDir.format(path)}' failed to build`,
      { derivation: path },
    );
  }

  #requireValid(path: StorePath, outputs: ReadonlyMap<string, InitialOutput>): void {
    if ([...outputs.values()].every(({ valid }) => valid)) return;
    throw new LarderError(
      'check-impossible',
      `some outputs of '${this.#context.store.storeDir.format(path)}' are not valid, so checking is not possible`,
    );
  }
}

function pickWanted(
  path: StorePath,
  outputs: ReadonlyMap<string, InitialOutput>,
  names: readonly string[] | undefined,
): ReadonlyMap<string, InitialOutput> {
  if (names === undefined) return outputs;
  const unknown = names.filter((name) => !outputs.has(name));
  if (unknown.length > 0) {
    const listed = unknown.map((name) => `'${name}'`).join(', ');
    throw new LarderError('output-unknown', `derivation '${path}' does not have wanted outputs ${listed}`);
  }
  return new Map(names.map((name) => [name, outputs.get(name)!]));
}

function isCancellation(error: Error): boolean {
  return error.name === 'AbortError' || (error instanceof BuildFailure && error.code === 'build-cancelled');
}
