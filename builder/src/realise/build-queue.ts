import { setTimeout as sleep } from 'node:timers/promises';
import type { StorePath } from '@larder/signing/store-path';
import { Semaphore } from '@larder/substituter/concurrency';
import { deleteTree } from '@larder/substituter/local-store/delete-tree';
import { BuildFailure } from '../build-failure.js';
import type { BuildContext, BuildJob, InitialOutput } from '../build-job.js';
import { runBuild } from '../run-build.js';
import { noteRealisations } from './note-realisations.js';
import { tryOutputLocks } from './output-locks.js';
import { runPostBuildHook } from './post-build-hook.js';
import type { RealisedOutputs, RealiserOptions } from './realiser.js';

/** A derivation whose inputs are valid. */
export type PreparedJob = Pick<BuildJob, 'path' | 'derivation' | 'options' | 'inputs' | 'mode'>;

/** How often a build that another process has under way is looked at, in milliseconds: soon at first, then seldom. */
const firstPoll = 20;
const slowestPoll = 1000;

/** Builds derivations, so many at a time as the settings allow, each while no other process builds the same. */
export class BuildQueue {
  readonly #context: BuildContext;
  readonly #options: RealiserOptions;
  readonly #slots: Semaphore;
  readonly #failures: BuildFailure[] = [];

  constructor(context: BuildContext, options: RealiserOptions) {
    this.#context = context;
    this.#options = options;
    this.#slots = new Semaphore(Math.max(1, context.settings.maxJobs));
  }

  /** Builds that failed, in the order they did. */
  get failures(): readonly BuildFailure[] {
    return this.#failures;
  }

  /** Builds, and gives all outputs. @throws BuildFailure */
  async run(job: PreparedJob): Promise<RealisedOutputs> {
    const derivation = this.#context.store.storeDir.format(job.path);
    for (let poll = firstPoll, told = false; ; poll = Math.min(poll * 2, slowestPoll)) {
      const outcome = await this.#slots.run(() => this.#tryBuild(job));
      if (outcome !== 'locked') return outcome;
      if (!told && poll > 500) {
        told = true;
        this.#options.onEvent({
          type: 'note',
          text: `another process is building '${derivation}': waiting for it`,
        });
      }
      await sleep(poll, undefined, { signal: this.#options.signal });
    }
  }

  /** Runs the program that the settings name for after a build. */
  runHook(derivation: StorePath, outputs: RealisedOutputs): Promise<void> {
    const { onEvent, signal } = this.#options;
    return runPostBuildHook(this.#context, { derivation, outputs: outputs.values(), onEvent, signal });
  }

  async #tryBuild(job: PreparedJob): Promise<RealisedOutputs | 'locked'> {
    const { signal, knowledge } = this.#options;
    signal.throwIfAborted();
    const { store, settings } = this.#context;
    if (settings.maxJobs === 0 && !job.derivation.builder.startsWith('builtin:')) {
      throw new BuildFailure('build-unsupported', "unable to start any build; increase '--max-jobs'", {
        derivation: job.path,
      });
    }
    const before = await knowledge.query(job.path, job.derivation);
    const locks = tryOutputLocks(
      [...before].map(([name, { path }]) =>
        path === undefined ? `${store.realPath(job.path)}.${name}` : store.realPath(path),
      ),
    );
    if (locks === undefined) return 'locked';
    try {
      // Now that nobody else can build it: somebody may have just done so.
      const outputs = await knowledge.query(job.path, job.derivation);
      if (job.mode === 'build' && [...outputs.values()].every(({ valid }) => valid)) {
        return new Map([...outputs].map(([name, { path }]) => [name, path!]));
      }
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
    const { onEvent, knowledge, signal } = this.#options;
    const { path: derivation, mode } = job;
    const started = performance.now();
    onEvent({ type: 'build-started', derivation, mode });
    try {
      const built = await runBuild(this.#context, {
        ...job,
        outputs,
        onLogLine: (line) => onEvent({ type: 'build-log', derivation, line }),
        onPhase: (phase) => onEvent({ type: 'build-phase', derivation, phase }),
        onNote: (text) => onEvent({ type: 'note', text }),
        signal,
      });
      if (mode === 'build') {
        await noteRealisations(this.#context, knowledge, {
          path: derivation,
          outputs: built,
          withInputs: false,
        });
      }
      await this.runHook(derivation, built);
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
}
