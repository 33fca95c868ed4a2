import { setTimeout as sleep } from 'node:timers/promises';
import type { StorePath } from '@larder/signing/store-path';
import { deleteTree } from '@larder/substituter/local-store/delete-tree';
import { BuildFailure } from '../build-failure.js';
import type { BuildContext, BuildJob, InitialOutput } from '../build-job.js';
import { describeMachines } from '../machines/build-machine.js';
import type { RemoteMachine } from '../machines/remote-machines.js';
import { runBuild } from '../run-build.js';
import { canBuildHere } from '../sandbox/sandbox-choice.js';
import { BuildSlots, type SlotNeeds } from './build-slots.js';
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
  readonly #slots: BuildSlots;
  readonly #failures: BuildFailure[] = [];

  constructor(context: BuildContext, options: RealiserOptions) {
    this.#context = context;
    this.#options = options;
    // Built-in builders run here even where nothing else may.
    const local = Math.max(1, context.settings.maxJobs);
    this.#slots = new BuildSlots(local, { machines: options.remote?.slots, signal: options.signal });
  }

  /** Builds that failed, in the order they did. */
  get failures(): readonly BuildFailure[] {
    return this.#failures;
  }

  /** Builds, and gives all outputs. @throws BuildFailure */
  async run(job: PreparedJob): Promise<RealisedOutputs> {
    const derivation = this.#context.store.storeDir.format(job.path);
    for (let poll = firstPoll, told = false; ; poll = Math.min(poll * 2, slowestPoll)) {
      const outcome = await this.#tryPlace(job);
      if (outcome === 'machine-lost') continue;
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

  /** Builds where there is room. */
  async #tryPlace(job: PreparedJob): Promise<RealisedOutputs | 'locked' | 'machine-lost'> {
    const slot = await this.#slots.take(this.#needs(job));
    if (slot === undefined) throw this.#tellFailure(this.#nowhere(job));
    try {
      if (slot.machine === undefined) return await this.#tryBuild(job, undefined);
      const remote = await this.#options.remote!.connect(slot.machine);
      return remote === undefined ? 'machine-lost' : await this.#tryBuild(job, remote);
    } finally {
      slot.release();
    }
  }

  #needs({ derivation, options, mode }: PreparedJob): SlotNeeds {
    const { settings } = this.#context;
    if (derivation.builder.startsWith('builtin:')) return { local: true };
    const any = settings.maxJobs > 0;
    // Without other machines the build itself says what this one lacks. Only this one has what is compared or replaced.
    if (this.#options.remote === undefined || mode !== 'build') return { local: any };
    const local = any && canBuildHere({ derivation, options }, settings);
    if (local && options.prefersLocalBuild) return { local };
    return { local, machine: { system: derivation.system, features: options.requiredSystemFeatures } };
  }

  #nowhere({ path, derivation, options }: PreparedJob): BuildFailure {
    const { settings, store } = this.#context;
    const machines = settings.buildMachines;
    if (machines.length === 0) {
      const message =
        "unable to start any build; increase '--max-jobs' or set up remote machines ('--builders')";
      return new BuildFailure('build-unsupported', message, { derivation: path });
    }
    const features = options.requiredSystemFeatures.join(', ');
    return new BuildFailure(
      'build-unsupported',
      `no machine can build '${store.storeDir.format(path)}', which requires '${derivation.system}' with features ` +
        `{${features}}: ${settings.maxJobs === 0 ? 'this one builds nothing (max-jobs = 0)' : `this one is a '${settings.system}'`}, ` +
        `and there are ${describeMachines(machines)}`,
      { derivation: path },
    );
  }

  async #tryBuild(
    job: PreparedJob,
    remote: RemoteMachine | undefined,
  ): Promise<RealisedOutputs | 'locked' | 'machine-lost'> {
    const { signal, knowledge } = this.#options;
    signal.throwIfAborted();
    const { store } = this.#context;
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
      return await this.#build(job, outputs, remote);
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

  async #build(
    job: PreparedJob,
    outputs: ReadonlyMap<string, InitialOutput>,
    remote: RemoteMachine | undefined,
  ): Promise<RealisedOutputs | 'machine-lost'> {
    const { onEvent, knowledge, signal } = this.#options;
    const { path: derivation, mode } = job;
    const started = performance.now();
    onEvent({ type: 'build-started', derivation, mode, machine: remote?.machine.name });
    try {
      const whole: BuildJob = {
        ...job,
        outputs,
        onLogLine: (line) => onEvent({ type: 'build-log', derivation, line }),
        onPhase: (phase) => onEvent({ type: 'build-phase', derivation, phase }),
        onNote: (text) => onEvent({ type: 'note', text }),
        signal,
      };
      const built =
        remote === undefined
          ? await runBuild(this.#context, whole)
          : await this.#options.remote!.build(this.#context, whole, remote);
      if (built === undefined) return 'machine-lost';
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
        this.#tellFailure(error);
      }
      throw error;
    }
  }

  #tellFailure(error: BuildFailure): BuildFailure {
    this.#failures.push(error);
    this.#options.onEvent({ type: 'build-failed', derivation: error.derivation, error });
    return error;
  }
}
