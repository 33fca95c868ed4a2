import type { StorePath } from '@larder/signing/store-path';
import { TrustedKeys } from '@larder/signing/trust';
import { Semaphore } from '@larder/substituter/concurrency';
import { copyPaths } from '@larder/substituter/copy/copy-paths';
import { DaemonDestination } from '@larder/substituter/daemon/daemon-destination';
import type { DaemonStore } from '@larder/substituter/daemon/daemon-store';
import type { LocalStore } from '@larder/substituter/local-store/local-store';
import { type OpenContext, openSource } from '@larder/substituter/open-store';
import { SourceSet } from '@larder/substituter/source-set';
import type { BuildMachine } from './build-machine.js';

/** A machine that was reached: its store, and what it is sent. */
export interface RemoteMachine {
  readonly machine: BuildMachine;
  readonly store: DaemonStore;
  /** Brings paths and all they refer to there. One build's at a time: two would send what they share twice. */
  send(paths: Iterable<StorePath>, from: LocalStore, signal: AbortSignal | undefined): Promise<void>;
}

/** Connections to machines, made when a build first goes there. */
export class RemoteMachines implements AsyncDisposable {
  readonly #client: OpenContext;
  readonly #useSubstitutes: boolean;
  readonly #opened = new Map<BuildMachine, Promise<RemoteMachine>>();

  /** @param options.useSubstitutes whether machines fetch from their own caches what these have, rather than have it sent */
  constructor(client: OpenContext, { useSubstitutes }: { readonly useSubstitutes: boolean }) {
    this.#client = client;
    this.#useSubstitutes = useSubstitutes;
  }

  open(machine: BuildMachine): Promise<RemoteMachine> {
    const opened = this.#opened.get(machine) ?? this.#open(machine);
    this.#opened.set(machine, opened);
    return opened;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const all = await Promise.allSettled(this.#opened.values());
    for (const each of all) if (each.status === 'fulfilled') await each.value.store.close();
  }

  async #open(machine: BuildMachine): Promise<RemoteMachine> {
    const store = (await openSource(machine.uri, this.#client)) as DaemonStore;
    const uploads = new Semaphore(1);
    return {
      machine,
      store,
      send: (paths, from, signal) => uploads.run(() => this.#send(paths, { from, to: store, signal })),
    };
  }

  async #send(
    paths: Iterable<StorePath>,
    { from, to, signal }: { from: LocalStore; to: DaemonStore; signal: AbortSignal | undefined },
  ): Promise<void> {
    const { settings } = this.#client;
    await copyPaths(paths, {
      sources: new SourceSet([from]),
      destination: new DaemonDestination(to, { checksTrust: false, substitute: this.#useSubstitutes }),
      recursive: true,
      trusted: TrustedKeys.parse([]),
      requireSignatures: false,
      queries: 64,
      transfers: Math.max(1, settings.get('max-substitution-jobs')),
      signal,
    });
  }
}
