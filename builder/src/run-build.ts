import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { LarderError } from '@larder/signing/errors';
import type { StorePath } from '@larder/signing/store-path';
import { deleteTree } from '@larder/substituter/local-store/delete-tree';
import { type BuildDirectory, createBuildDirectory, writeBuildFiles } from './build-directory.js';
import { BuildFailure, describeEnd, failureCode } from './build-failure.js';
import { type BuildContext, type BuildJob, chooseScratchOutputs, type ScratchOutputs } from './build-job.js';
import { runBuiltin } from './builtin/run-builtin.js';
import { composeEnvironment, isFixed } from './derivation/build-environment.js';
import { BuildRounds } from './output/build-rounds.js';
import { type OutputLocation, registerOutputs } from './output/register-outputs.js';
import { type BuildUser, takeBuildUser } from './process/build-user.js';
import { type BuilderEnd, runBuilder } from './process/builder-process.js';
import { logBuild } from './process/log-build.js';
import { plainCommand, sandboxedCommand } from './process/start-builder.js';
import { sandboxGid, sandboxUid } from './sandbox/bubblewrap.js';
import { checkPlatform, usesSandbox } from './sandbox/sandbox-choice.js';
import { querySandboxMounts } from './sandbox/sandbox-mounts.js';
import { createSandboxTree, type Mount, type SandboxTree } from './sandbox/sandbox-tree.js';

/**
 * Builds one derivation and registers its outputs; gives them by name.
 * @throws BuildFailure
 */
export async function runBuild(
  context: BuildContext,
  job: BuildJob,
): Promise<ReadonlyMap<string, StorePath>> {
  checkPlatform(job, context.settings);
  const { repeat, enforceDeterminism: enforce } = context.settings;
  const { path: derivation, onNote } = job;
  const rounds =
    repeat > 0 && job.mode === 'build'
      ? new BuildRounds({ store: context.store, derivation, repeat, enforce, onNote })
      : undefined;
  for (;;) {
    const outputs = await runRound(context, { ...job, rounds });
    if (outputs !== undefined) return outputs;
  }
}

async function runRound(
  context: BuildContext,
  job: BuildJob,
): Promise<ReadonlyMap<string, StorePath> | undefined> {
  const sandboxed = usesSandbox(context, job);
  const user = await waitForUser(context, job, sandboxed);
  const directory = createBuildDirectory(context.temporaryDirectory, `${job.derivation.name}.drv`, user);
  const build = new Build(context, job, { sandboxed, user, directory });
  try {
    const outputs = await build.run();
    await directory.delete();
    return outputs;
  } catch (error) {
    if (context.settings.keepFailed && !isBuiltin(job) && existsSync(directory.path)) {
      directory.keep();
      job.onNote(`note: keeping build directory '${directory.path}'`);
    } else await directory.delete();
    throw error;
  } finally {
    user?.release();
  }
}

function isBuiltin(job: BuildJob): boolean {
  return job.derivation.builder.startsWith('builtin:');
}

/** Build users are as many as the group has: without one the build waits. */
async function waitForUser(
  context: BuildContext,
  job: BuildJob,
  sandboxed: boolean,
): Promise<BuildUser | undefined> {
  // A built-in builder is our own code: it runs as ourselves.
  if (isBuiltin(job)) return undefined;
  const { store, settings } = context;
  for (let told = false; ; told = true) {
    const user = takeBuildUser({
      stateDir: store.layout.stateDir,
      group: settings.buildUsersGroup,
      reaches: store.layout.realStoreDir,
      automatic: sandboxed,
    });
    if (user !== 'busy') return user;
    if (!told) job.onNote(`waiting for a free build user for '${store.storeDir.format(job.path)}'`);
    await sleep(500, undefined, { signal: job.signal });
  }
}

interface BuildPlace {
  readonly sandboxed: boolean;
  readonly user: BuildUser | undefined;
  readonly directory: BuildDirectory;
}

class Build {
  readonly #context: BuildContext;
  readonly #job: BuildJob;
  readonly #place: BuildPlace;
  readonly #scratch: ScratchOutputs;

  constructor(context: BuildContext, job: BuildJob, place: BuildPlace) {
    this.#context = context;
    this.#job = job;
    this.#place = place;
    this.#scratch = chooseScratchOutputs(job, context.store, place.sandboxed);
  }

  async run(): Promise<ReadonlyMap<string, StorePath> | undefined> {
    const { store } = this.#context;
    if (!this.#place.sandboxed) {
      try {
        return await this.#runAndRegister(undefined);
      } finally {
        await this.#deleteStandIns();
      }
    }
    const tree = await createSandboxTree({
      store,
      derivation: this.#job.path,
      inputs: isBuiltin(this.#job) ? [] : this.#job.inputs,
      gid: this.#place.user?.gid,
      sandboxGid,
      sandboxUid,
      buildDir: this.#context.settings.sandboxBuildDir,
      network: isFixed(this.#job.derivation),
    });
    try {
      return await this.#runAndRegister(tree);
    } finally {
      await tree.delete();
    }
  }

  /** Without a sandbox, what was made in place of valid outputs lies in the store itself. */
  async #deleteStandIns(): Promise<void> {
    for (const [name, { path }] of this.#job.outputs) {
      const scratch = this.#scratch.paths.get(name)!;
      if (scratch !== path) await deleteTree(this.#context.store.realPath(scratch));
    }
  }

  async #runAndRegister(tree: SandboxTree | undefined): Promise<ReadonlyMap<string, StorePath> | undefined> {
    const { store } = this.#context;
    const location: OutputLocation = {
      scratch: this.#scratch.paths,
      locate: (path) => (tree === undefined ? store.realPath(path) : `${tree.storeDirectory}/${path}`),
      owner: this.#place.user?.uid,
    };
    await this.#logged((onOutput) =>
      isBuiltin(this.#job) ? this.#runBuiltin(location, onOutput) : this.#runProgram(tree, onOutput),
    );
    return registerOutputs(this.#context, this.#job, location);
  }

  /** Runs the builder with its log written down, and throws what went wrong with the log's end. */
  async #logged(run: (onOutput: (chunk: Buffer) => boolean) => Promise<BuilderEnd>): Promise<void> {
    const { end, tail } = await logBuild(this.#context, this.#job, run);
    const fault = describeEnd(end);
    if (fault !== undefined) throw this.#failure(end, fault, tail);
  }

  #failure(end: BuilderEnd, fault: string, tail: readonly string[]): BuildFailure {
    const derivation = this.#context.store.storeDir.format(this.#job.path);
    const shown = tail.map((line) => `> ${line}\n`).join('');
    const log =
      shown === ''
        ? ''
        : `;\nlast ${tail.length} log lines:\n${shown}For full logs, run 'larder log ${derivation}'.`;
    const brief = `builder for '${derivation}' ${fault}`;
    return new BuildFailure(failureCode(end), `${brief}${log}`, { derivation: this.#job.path, brief });
  }

  async #runProgram(
    tree: SandboxTree | undefined,
    onOutput: (chunk: Buffer) => boolean,
  ): Promise<BuilderEnd> {
    const { store, settings, fifos } = this.#context;
    const { derivation, options, inputs } = this.#job;
    const { directory, user } = this.#place;
    const environment = await composeEnvironment(derivation, {
      store,
      options,
      inputs,
      directory: tree === undefined ? directory.path : settings.sandboxBuildDir,
      cores: settings.cores,
      rewrites: this.#scratch.inputRewrites,
      hostEnvironment: this.#context.hostEnvironment,
    });
    writeBuildFiles(directory, environment.files, user);
    const start = {
      derivation,
      environment,
      user,
      scratch: fifos.directory,
      impersonateLinux26: settings.impersonateLinux26,
    };
    const mounts = tree === undefined ? [] : [...tree.mounts, ...(await this.#hostMounts())];
    const pipe = await fifos.take();
    const command =
      tree === undefined
        ? plainCommand({ ...start, directory: directory.path })
        : sandboxedCommand({
            ...start,
            mounts,
            directory: settings.sandboxBuildDir,
            network: isFixed(derivation),
            kvm: settings.systemFeatures.has('kvm'),
            shmSize: settings.sandboxDevShmSize,
            filterSyscalls: settings.filterSyscalls,
          });
    const { timeout, maxSilentTime } = settings;
    try {
      return await runBuilder(command, { pipe, onOutput, timeout, maxSilentTime, signal: this.#job.signal });
    } catch (error) {
      throw this.#unstartable(command.program, error);
    }
  }

  async #hostMounts(): Promise<Mount[]> {
    const { store, settings } = this.#context;
    const outputs = [...this.#job.outputs.values()].flatMap(({ path }) => (path === undefined ? [] : [path]));
    const mounts = await querySandboxMounts(
      store,
      settings.sandboxPaths,
      new Set([...this.#job.inputs, ...outputs]),
    );
    return [
      ...mounts,
      { source: this.#place.directory.path, target: settings.sandboxBuildDir, writable: true },
    ];
  }

  #unstartable(program: string, cause: unknown): unknown {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT' || program !== 'bwrap') return cause;
    return new LarderError(
      'sandbox-unavailable',
      "builds run in a sandbox by bubblewrap, and there is no 'bwrap' in PATH: install it (the package is called " +
        'bubblewrap), or set "sandbox = false" in nix.conf to build without',
      { cause },
    );
  }

  async #runBuiltin(location: OutputLocation, onOutput: (chunk: Buffer) => boolean): Promise<BuilderEnd> {
    const { derivation } = this.#job;
    try {
      await runBuiltin(this.#context, {
        derivation,
        locate: (output) => location.locate(this.#scratch.paths.get(output)!),
        sandboxed: this.#place.sandboxed,
        log: (text) => onOutput(Buffer.from(`${text}\n`)),
        signal: this.#job.signal,
      });
      return { type: 'exit', status: 0 };
    } catch (error) {
      this.#job.signal?.throwIfAborted();
      onOutput(Buffer.from(`error: ${(error as Error).message}\n`));
      return { type: 'exit', status: 1 };
    }
  }
}
