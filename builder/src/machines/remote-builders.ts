import { hasCode } from '@larder/signing/errors';
import type { StorePath } from '@larder/signing/store-path';
import type { LocalStore } from '@larder/substituter/local-store/local-store';
import type { OpenContext } from '@larder/substituter/open-store';
import type { BuildContext, BuildJob } from '../build-job.js';
import type { BuildSettings } from '../build-settings.js';
import type { BuildMachine } from './build-machine.js';
import { MachineSlots } from './machine-slots.js';
import { runRemoteBuild } from './remote-build.js';
import { type RemoteMachine, RemoteMachines } from './remote-machines.js';

/** What tells that a machine, and not the build, is at fault. */
const machineFaults = [
  'daemon-unreachable',
  'daemon-disconnected',
  'daemon-program-absent',
  'daemon-too-old',
  'daemon-protocol',
  'store-uri-invalid',
] as const;

export interface RemoteBuildersOptions {
  readonly store: LocalStore;
  readonly settings: BuildSettings;
  readonly client: OpenContext;
  readonly onNote: (text: string) => void;
}

/** The machines that builds may be given to, and how they are given. */
export class RemoteBuilders implements AsyncDisposable {
  readonly slots: MachineSlots;
  readonly #options: RemoteBuildersOptions;
  readonly #machines: RemoteMachines;

  constructor(options: RemoteBuildersOptions) {
    const { store, settings, client } = options;
    this.#options = options;
    this.slots = new MachineSlots(settings.buildMachines, store.layout.stateDir);
    this.#machines = new RemoteMachines(client, { useSubstitutes: settings.buildersUseSubstitutes });
  }

  /** Reaches a machine, or says why it cannot be and gives it up for this run. */
  async connect(machine: BuildMachine): Promise<RemoteMachine | undefined> {
    return this.#unlessAtFault(machine, async () => {
      const remote = await this.#machines.open(machine);
      await remote.store.queryValidPaths([]);
      return remote;
    });
  }

  /**
   * Builds on a machine; `undefined` when that is lost on the way: the build is for another one then.
   * @throws BuildFailure
   */
  async build(
    context: BuildContext,
    job: BuildJob,
    remote: RemoteMachine,
  ): Promise<ReadonlyMap<string, StorePath> | undefined> {
    const { work } = this.#options.client;
    return this.#unlessAtFault(remote.machine, () => runRemoteBuild(context, job, { remote, work }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#machines[Symbol.asyncDispose]();
  }

  async #unlessAtFault<Result>(
    machine: BuildMachine,
    task: () => Promise<Result>,
  ): Promise<Result | undefined> {
    try {
      return await task();
    } catch (error) {
      if (!machineFaults.some((code) => hasCode(error, code))) throw error;
      this.slots.disable(machine);
      this.#options.onNote(`cannot build on '${machine.name}': ${(error as Error).message}`);
      return undefined;
    }
  }
}
