import { setTimeout as sleep } from 'node:timers/promises';
import { type Derivation, derivationOutputPath } from '@larder/signing/derivation';
import { LarderError } from '@larder/signing/errors';
import type { StorePath } from '@larder/signing/store-path';
import { deleteTree } from '@larder/substituter/local-store/delete-tree';
import { BuildFailure } from '../build-failure.js';
import {
  type BuildContext,
  type BuildJob,
  type BuildMode,
  type InitialOutput,
  queryInitialOutputs,
} from '../build-job.js';
import { DerivationOptions } from '../derivation/derivation-options.js';
import { readDerivation } from '../derivation/read-derivation.js';
import { runBuild } from '../run-build.js';
import type { BuildListener } from './build-event.js';
import type { ForeignCaches } from './foreign-caches.js';
import { tryOutputLocks } from './output-locks.js';
import { runPostBuildHook } from './post-build-hook.js';
import { Slots } from './slots.js';
import type { Substituter } from './substituter.js';
import { type Target, targetKey } from './targets.js';

export interface RealiserOptions {
  /** Absent when nothing may be fetched. */
  readonly substituter?: Substituter;
  /** Absent when no cache is for stores in another directory. */
  readonly foreign?: ForeignCaches;
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

/** How often a build that another process has under way is looked at, in milliseconds: soon at first, then seldom. */
const firstPoll = 20;
const slowestPoll = 1000;

/**
 * Makes paths valid: from caches where they have them, else by building, several builds at a time. Each path is
 * fetched and each derivation built once however often it is asked for.
 */
export class Realiser {
  readonly #context: BuildContext;
  readonly #options: RealiserOptions;
  readonly #slots: Slots;
  readonly #abort: AbortController;
  readonly #signal: AbortSignal;
  readonly #goals = new Map<string, Promise<RealisedOutputs>>();
  readonly #paths = new Map<StorePath, Promise<void>>();
  readonly #failures: BuildFailure[] = [];

  constructor(context: BuildContext, options: RealiserOptions) {
    this.#context = context;
    this.#options = options;
    this.#slots = new Slots(Math.max(1, context.settings.maxJobs));
    this.#abort = options.abort;
    this.#signal = options.signal;
  }

  /** Builds that failed, in the order they did. */
  get failures(): readonly BuildFailure[] {
    return this.#failures;
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
    if ((await store.queryMissing([path])).size === 0 || (await this.#tryFetch([path]))) return;
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
    const { store, settings } = this.#context;
    await this.#path(path);
    const derivation = readDerivation(store, path);
    // Rooted first and looked at then: what is valid now stays so.
    await store.addTempRoots(
      [...derivation.outputs.keys()].flatMap(
        (name) => derivationOutputPath(derivation, name, store.storeDir) ?? [],
      ),
    );
    const known = await queryInitialOutputs(derivation, store);
    const wanted = pickWanted(path, known, outputs);
    const invalid = [...wanted.values()].filter(({ valid }) => !valid);
    if (mode === 'check') this.#requireValid(path, known);
    else if (mode === 'build') {
      if (invalid.length === 0) return outputPaths(wanted);
      const options = new DerivationOptions(derivation);
      const paths = invalid.flatMap((output) => (output.path === undefined ? [] : [output.path]));
      const allKnown = paths.length === invalid.length;
      if (settings.substitute && allKnown && options.allowsSubstitutes && (await this.#tryFetch(paths))) {
        return outputPaths(wanted);
      }
      if (options.allowsSubstitutes && (await this.#tryForeign(derivation, wanted)))
        return outputPaths(wanted);
    }
    const job = { path, derivation, options: new DerivationOptions(derivation), mode };
    const inputs = await this.#realiseInputs(job);
    const built = await this.#buildInSlot({ ...job, inputs });
    return new Map([...built].filter(([name]) => wanted.has(name)));
  }

  /** Fetches paths with all they refer to, or tells that this cannot be: they must be built then. */
  async #tryFetch(paths: readonly StorePath[]): Promise<boolean> {
    const { substituter, onEvent } = this.#options;
    if (substituter === undefined || !this.#context.settings.substitute) return false;
    for (let tries = 0; tries < 2; tries++) {
      const closure = await substituter.queryClosure(paths);
      if (closure === undefined) return false;
      try {
        await substituter.fetch(closure);
        return true;
      } catch (error) {
        this.#signal.throwIfAborted();
        // Fetched together with others, one of which failed: these may be here, or come on their own.
        if ((await this.#context.store.queryMissing(paths)).size === 0) return true;
        if (tries === 0) continue;
        onEvent({
          type: 'note',
          text: `cannot fetch ${paths.join(', ')}: ${(error as Error).message}; trying to build it`,
        });
      }
    }
    return false;
  }

  /** Fetches a fixed output from a cache for stores in another directory. */
  async #tryForeign(derivation: Derivation, wanted: ReadonlyMap<string, InitialOutput>): Promise<boolean> {
    const [only, ...others] = wanted;
    if (this.#options.foreign === undefined || only === undefined || others.length > 0) return false;
    const [name, { path }] = only;
    return path !== undefined && this.#options.foreign.fetch(derivation, name, path);
  }

  /** Realises all inputs and gives the closure of what the build asked for. */
  async #realiseInputs({ path, derivation }: Pick<BuildJob, 'path' | 'derivation'>): Promise<Set<StorePath>> {
    const { store } = this.#context;
    const roots = new Set(derivation.inputSources);
    const wanted = [...derivation.inputDerivations].map(async ([input, names]) => {
      const outputs = await this.#derivation(input, [...names]);
      for (const output of outputs.values()) roots.add(output);
    });
    const sources = [...derivation.inputSources].map((source) => this.#path(source));
    await this.#allInputs(path, [...wanted, ...sources]);
    return new Set((await store.queryClosure(roots)).map(({ storePath }) => storePath));
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

  #buildInSlot(job: PreparedJob): Promise<RealisedOutputs> {
    return this.#whenUnlocked(job, () => this.#slots.use(() => this.#tryBuild(job)));
  }

  /** Tries until no other process holds the outputs' locks. */
  async #whenUnlocked(
    job: PreparedJob,
    attempt: () => Promise<RealisedOutputs | 'locked'>,
  ): Promise<RealisedOutputs> {
    const derivation = this.#context.store.storeDir.format(job.path);
    for (let poll = firstPoll, told = false; ; poll = Math.min(poll * 2, slowestPoll)) {
      const outcome = await attempt();
      if (outcome !== 'locked') return outcome;
      if (!told && poll > 500) {
        told = true;
        this.#options.onEvent({
          type: 'note',
          text: `another process is building '${derivation}': waiting for it`,
        });
      }
      await sleep(poll, undefined, { signal: this.#signal });
    }
  }

  async #tryBuild(job: PreparedJob): Promise<RealisedOutputs | 'locked'> {
    this.#signal.throwIfAborted();
    const { store, settings } = this.#context;
    if (settings.maxJobs === 0 && !job.derivation.builder.startsWith('builtin:')) {
      throw new BuildFailure('build-unsupported', "unable to start any build; increase '--max-jobs'", {
        derivation: job.path,
      });
    }
    const before = await queryInitialOutputs(job.derivation, store);
    const locks = tryOutputLocks(
      [...before].map(([name, { path }]) =>
        path === undefined ? `${store.realPath(job.path)}.${name}` : store.realPath(path),
      ),
    );
    if (locks === undefined) return 'locked';
    try {
      // Now that nobody else can build it: somebody may have just done so.
      const outputs = await queryInitialOutputs(job.derivation, store);
      if (job.mode === 'build' && [...outputs.values()].every(({ valid }) => valid))
        return outputPaths(outputs);
      await this.#deleteInvalid(outputs);
      return await this.#build(job, outputs);
    } finally {
      for (const lock of locks) lock.release();
    }
  }

  /** What lies at the place of an invalid path has no owner: we hold its lock. */
  async #deleteInvalid(outputs: ReadonlyMap<string, InitialOutput>): Promise<void> {
    for (const { path, valid } of outputs.values()) {
      if (path !== undefined && !valid) await deleteTree(this.#context.store.realPath(path));
    }
  }

  async #build(job: PreparedJob, outputs: ReadonlyMap<string, InitialOutput>): Promise<RealisedOutputs> {
    const { onEvent } = this.#options;
    const { path: derivation, mode } = job;
    const started = performance.now();
    onEvent({ type: 'build-started', derivation, mode });
    try {
      const built = await runBuild(this.#context, {
        ...job,
        outputs,
        onLogLine: (line) => onEvent({ type: 'build-log', derivation, line }),
        onNote: (text) => onEvent({ type: 'note', text }),
        signal: this.#signal,
      });
      await runPostBuildHook(this.#context, {
        derivation,
        outputs: built.values(),
        onLine: (line) => onEvent({ type: 'hook-log', derivation, line }),
        signal: this.#signal,
      });
      onEvent({ type: 'build-finished', derivation, seconds: (performance.now() - started) / 1000 });
      return built;
    } catch (error) {
      if (error instanceof BuildFailure && error.code !== 'build-cancelled') {
        this.#failures.push(error);
        onEvent({ type: 'build-failed', derivation, error });
      }
      throw error;
    }
  }

  #requireValid(path: StorePath, outputs: ReadonlyMap<string, InitialOutput>): void {
    if ([...outputs.values()].every(({ valid }) => valid)) return;
    throw new LarderError(
      'check-impossible',
      `some outputs of '${this.#context.store.storeDir.format(path)}' are not valid, so checking is not possible`,
    );
  }
}

type PreparedJob = Pick<BuildJob, 'path' | 'derivation' | 'options' | 'inputs' | 'mode'>;

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

function outputPaths(outputs: ReadonlyMap<string, InitialOutput>): RealisedOutputs {
  return new Map([...outputs].map(([name, { path }]) => [name, path!]));
}

function isCancellation(error: Error): boolean {
  return error.name === 'AbortError' || (error instanceof BuildFailure && error.code === 'build-cancelled');
}
