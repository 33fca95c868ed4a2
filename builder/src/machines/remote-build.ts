import { mkdirSync } from 'node:fs';
import type { Derivation } from '@larder/signing/derivation';
import type { NarWork } from '@larder/signing/nar-work';
import type { StorePath } from '@larder/signing/store-path';
import { restorePath } from '@larder/substituter/copy/restore-path';
import type { DaemonBuildResult, DaemonBuildStatus } from '@larder/substituter/daemon/daemon-build';
import { deleteTree } from '@larder/substituter/local-store/delete-tree';
import { BuildFailure, type BuildFailureCode, describeEnd, failureCode } from '../build-failure.js';
import type { BuildContext, BuildJob } from '../build-job.js';
import { registerOutputs } from '../output/register-outputs.js';
import { BuildLimits } from '../process/build-limits.js';
import type { BuilderEnd } from '../process/builder-process.js';
import { logBuild } from '../process/log-build.js';
import type { RemoteMachine } from './remote-machines.js';

export interface RemoteBuildOptions {
  readonly remote: RemoteMachine;
  /** Restores and checks what comes back. */
  readonly work: NarWork;
}

/**
 * Has another machine build a derivation: sends what the build reads, shows its log as it comes, and takes the outputs in as
 * if they had been built here. That is, their contents are read for references, and held against the derivation's checks.
 * @throws BuildFailure; what a broken connection throws
 */
export async function runRemoteBuild(
  context: BuildContext,
  job: BuildJob,
  { remote, work }: RemoteBuildOptions,
): Promise<ReadonlyMap<string, StorePath>> {
  await remote.send(job.inputs, context.store, job.signal);
  const build = new RemoteBuild(context, job, remote);
  const result = await build.run();
  // Named as the directory of a sandbox is, which collectors leave alone.
  const directory = `${context.store.realPath(job.path)}.chroot`;
  await deleteTree(directory);
  mkdirSync(directory, { mode: 0o700 });
  try {
    const scratch = await build.fetchOutputs(result, { directory, work });
    const locate = (path: StorePath) => `${directory}/${path}`;
    const location = { scratch, locate, owner: undefined, builtElsewhere: true };
    // Nothing only after one of several rounds, which are for builds here.
    return (await registerOutputs(context, job, location))!;
  } finally {
    await deleteTree(directory);
  }
}

class RemoteBuild {
  readonly #context: BuildContext;
  readonly #job: BuildJob;
  readonly #remote: RemoteMachine;

  constructor(context: BuildContext, job: BuildJob, remote: RemoteMachine) {
    this.#context = context;
    this.#job = job;
    this.#remote = remote;
  }

  async run(): Promise<DaemonBuildResult> {
    const outcome = await logBuild(this.#context, this.#job, (onOutput) => this.#build(onOutput));
    if ('status' in outcome.end) {
      const { end } = outcome;
      if (end.succeeded) return end;
      throw this.#failure(failureCodes[end.status] ?? 'build-failed', `failed: ${end.message}`);
    }
    throw this.#failure(failureCode(outcome.end.limit), describeEnd(outcome.end.limit)!);
  }

  /** The daemon's answer, or which of our own limits the build went beyond. */
  async #build(
    onOutput: (chunk: Buffer) => boolean,
  ): Promise<DaemonBuildResult | { readonly limit: BuilderEnd }> {
    const { settings } = this.#context;
    using limits = new BuildLimits(settings);
    const { signal: cancelled, path } = this.#job;
    const signal = cancelled === undefined ? limits.signal : AbortSignal.any([cancelled, limits.signal]);
    const onLine = (line: string): void => {
      limits.noteOutput();
      if (!onOutput(Buffer.from(`${line}\n`))) limits.exceed({ type: 'log-limit' });
    };
    try {
      return await this.#remote.store.buildDerivation(path, this.#basicDerivation(), { onLine, signal });
    } catch (error) {
      if (limits.exceeded === undefined) throw error;
      return { limit: limits.exceeded };
    }
  }

  /** The derivation with what its inputs came out as in their place: their derivations are not there. */
  #basicDerivation(): Derivation {
    const { derivation, inputs } = this.#job;
    // Without any, the sources are part of what names a content-addressed output: they stay as they are.
    return derivation.inputDerivations.size === 0 ? derivation : { ...derivation, inputSources: inputs };
  }

  /** Brings the outputs that are wanted into `directory`; gives where each is made, by name. */
  async fetchOutputs(
    result: DaemonBuildResult,
    { directory, work }: { readonly directory: string; readonly work: NarWork },
  ): Promise<ReadonlyMap<string, StorePath>> {
    const { store: source } = this.#remote;
    const scratch = new Map<string, StorePath>();
    for (const [name, { path, valid }] of this.#job.outputs) {
      const made = path ?? result.outputs.get(name);
      if (made === undefined) throw this.#failure('output-rejected', `gave no path for its output '${name}'`);
      scratch.set(name, made);
      if (valid) continue;
      const info = await source.queryPathInfo(made);
      if (info === undefined)
        throw this.#failure('output-rejected', `did not leave its output '${name}' there`);
      await restorePath(
        { info, source },
        {
          ...{ work, directory: `${directory}/${made}`, signal: this.#job.signal },
          fsync: this.#context.store.fsyncsStorePaths,
        },
      );
    }
    return scratch;
  }

  #failure(code: BuildFailureCode, what: string): BuildFailure {
    const derivation = this.#context.store.storeDir.format(this.#job.path);
    const machine = this.#remote.machine.name;
    const message = `build of '${derivation}' on '${machine}' ${what}`;
    return new BuildFailure(code, message, { derivation: this.#job.path, machine });
  }
}

const failureCodes: Readonly<Partial<Record<DaemonBuildStatus, BuildFailureCode>>> = {
  'output-rejected': 'output-rejected',
  'timed-out': 'build-timed-out',
  'log-limit-exceeded': 'build-log-limit',
  'not-deterministic': 'not-deterministic',
  'hash-mismatch': 'hash-mismatch',
};
