import {
  ACTIVITY,
  type ActivityStart,
  formatActivityResult,
  formatActivityStart,
  formatActivityStop,
  formatLogError,
  formatLogMessage,
  LOG_LEVEL,
  RESULT,
} from '@larder/builder/nix-log';
import type { BuildEvent } from '@larder/builder/realise/build-event';
import type { StoreDir, StorePath } from '@larder/signing/store-path';
import type { CopyEvent } from '@larder/substituter/copy/copy-events';
import { formatPlan } from './build-plan.js';
import type { BuildProgress } from './build-progress.js';
import { describeStart } from './build-start.js';

/** Milliseconds between two reports of the bytes of one path. */
const reportEvery = 100;

interface RunningCopy {
  readonly substitute: number;
  readonly copy: number;
  readonly expected: number;
  done: number;
  reported: number;
}

export interface NixLogOptions {
  /** Says why a build failed; by default its whole message, as a message of the log. */
  readonly showFailure?: (error: Error) => void;
  /** Whether to say what there is to do. */
  readonly plan?: boolean;
}

/** Tells how builds go on as Nix does with `--log-format internal-json`: activities, and sums over all of them. */
export class NixLogProgress implements BuildProgress {
  readonly #storeDir: StoreDir;
  readonly #options: NixLogOptions;
  /** Unlike those of any other process at work, so that logs can be put together; and exact as a number. */
  #nextId = (process.pid % 2 ** 20) * 2 ** 32;
  /** The activities that stand for everything, in the order they began. */
  #whole: { readonly realise: number; readonly builds: number; readonly copies: number } | undefined;
  readonly #builds = new Map<StorePath, number>();
  readonly #hooks = new Map<StorePath, number>();
  readonly #copies = new Map<StorePath, RunningCopy>();
  readonly #built = { expected: 0, done: 0, failed: 0 };
  readonly #copied = { expected: 0, done: 0 };
  #bytes = { download: 0, unpacked: 0 };

  constructor(storeDir: StoreDir, options: NixLogOptions = {}) {
    this.#storeDir = storeDir;
    this.#options = options;
  }

  readonly listener = (event: BuildEvent): void => {
    switch (event.type) {
      case 'planned':
        this.#plan(event);
        break;
      case 'note':
        write(formatLogMessage(LOG_LEVEL.notice, event.text));
        break;
      case 'copy':
        this.#copy(event.event);
        break;
      case 'build-started':
        this.#startBuild(event);
        break;
      case 'build-log':
        this.#result(this.#builds, event.derivation, RESULT.buildLogLine, event.line);
        break;
      case 'build-phase':
        this.#result(this.#builds, event.derivation, RESULT.setPhase, event.phase);
        break;
      case 'build-finished':
        this.#built.done++;
        this.#stopBuild(event.derivation);
        break;
      case 'build-failed':
        this.#built.failed++;
        this.#fail(event.error);
        this.#stopBuild(event.derivation);
        break;
      case 'hook-started': {
        const text = `running post-build-hook '${event.program}'`;
        const fields = [this.#storeDir.format(event.derivation)];
        const type = ACTIVITY.postBuildHook;
        this.#hooks.set(event.derivation, this.#start({ type, text, level: LOG_LEVEL.info, fields }));
        break;
      }
      case 'hook-log':
        this.#result(this.#hooks, event.derivation, RESULT.postBuildLogLine, event.line);
        break;
      case 'hook-finished':
        this.#stop(this.#hooks, event.derivation);
        break;
    }
  };

  /** Stops whatever runs still, the last first. */
  finish(): void {
    for (const path of [...this.#copies.keys()]) this.#stopCopy(path);
    for (const path of [...this.#hooks.keys()]) this.#stop(this.#hooks, path);
    for (const path of [...this.#builds.keys()]) this.#stop(this.#builds, path);
    if (this.#whole === undefined) return;
    this.#report();
    const { realise, builds, copies } = this.#whole;
    for (const id of [copies, builds, realise]) write(formatActivityStop(id));
    this.#whole = undefined;
  }

  #plan({ plan }: Extract<BuildEvent, { type: 'planned' }>): void {
    if (this.#options.plan !== false) {
      for (const line of formatPlan(plan, this.#storeDir)) write(formatLogMessage(LOG_LEVEL.info, line));
    }
    this.#built.expected += plan.build.length;
    this.#copied.expected += plan.fetch.length;
    this.#bytes = { download: plan.downloadSize, unpacked: plan.unpackedSize };
    this.#report();
  }

  #startBuild(event: Extract<BuildEvent, { type: 'build-started' }>): void {
    const { derivation, machine = '' } = event;
    const path = this.#storeDir.format(derivation);
    // A build whose machine was lost begins again elsewhere.
    this.#stop(this.#builds, derivation);
    this.#begin();
    this.#builds.set(
      derivation,
      this.#start({
        type: ACTIVITY.build,
        text: describeStart(event, path).replace(/\.\.\.$/, ''),
        level: LOG_LEVEL.info,
        // The machine (this one has no name), and two numbers of rounds.
        fields: [path, machine, 1, 1],
      }),
    );
    this.#report();
  }

  #stopBuild(derivation: StorePath): void {
    const id = this.#builds.get(derivation);
    this.#builds.delete(derivation);
    this.#report();
    if (id !== undefined) write(formatActivityStop(id));
  }

  #fail(error: Error): void {
    if (this.#options.showFailure === undefined) write(formatLogError(error.message));
    else this.#options.showFailure(error);
  }

  #copy(event: CopyEvent): void {
    switch (event.type) {
      case 'started': {
        this.#stopCopy(event.path); // From a cache that broke off.
        this.#begin();
        const path = this.#storeDir.format(event.path);
        const substitute = this.#start({ type: ACTIVITY.substitute, fields: [path, event.source] });
        const copy = this.#start({
          type: ACTIVITY.copyPath,
          text: `copying path '${path}' from '${event.source}'`,
          level: LOG_LEVEL.info,
          fields: [path, event.source, 'local'],
        });
        this.#copies.set(event.path, { substitute, copy, expected: event.bytes, done: 0, reported: 0 });
        this.#report();
        break;
      }
      case 'progress':
        this.#reportBytes(event.path, event.bytes);
        break;
      case 'finished':
        this.#copied.done++;
        this.#stopCopy(event.path);
        this.#report();
        break;
      case 'retried':
        write(formatLogMessage(LOG_LEVEL.warning, `warning: ${event.error.message}`));
        break;
      case 'planned':
      case 'waiting':
        break;
    }
  }

  #reportBytes(path: StorePath, bytes: number): void {
    const copy = this.#copies.get(path);
    if (copy === undefined) return;
    copy.done += bytes;
    const now = performance.now();
    if (now - copy.reported < reportEvery) return;
    copy.reported = now;
    write(formatActivityResult(copy.copy, RESULT.progress, [copy.done, copy.expected, 0, 0]));
  }

  #stopCopy(path: StorePath): void {
    const copy = this.#copies.get(path);
    if (copy === undefined) return;
    this.#copies.delete(path);
    write(formatActivityStop(copy.copy));
    write(formatActivityStop(copy.substitute));
  }

  /** The sums over all builds and copies. */
  #report(): void {
    const { realise, builds, copies } = this.#begin();
    const { expected, done, failed } = this.#built;
    const building = this.#builds.size;
    const copying = this.#copies.size;
    const progress: [number, number[]][] = [
      [builds, [done, Math.max(expected, done + failed + building), building, failed]],
      [copies, [this.#copied.done, Math.max(this.#copied.expected, this.#copied.done + copying), copying, 0]],
    ];
    for (const [id, fields] of progress) write(formatActivityResult(id, RESULT.progress, fields));
    const { download, unpacked } = this.#bytes;
    for (const fields of [
      [ACTIVITY.fileTransfer, download],
      [ACTIVITY.copyPath, unpacked],
    ]) {
      write(formatActivityResult(realise, RESULT.setExpected, fields));
    }
  }

  #begin() {
    this.#whole ??= {
      realise: this.#start({ type: ACTIVITY.realise }),
      builds: this.#start({ type: ACTIVITY.builds }),
      copies: this.#start({ type: ACTIVITY.copyPaths }),
    };
    return this.#whole;
  }

  #start(activity: Omit<ActivityStart, 'id'>): number {
    const id = this.#nextId++;
    write(formatActivityStart({ ...activity, id }));
    return id;
  }

  #stop(running: Map<StorePath, number>, path: StorePath): void {
    const id = running.get(path);
    if (id === undefined) return;
    running.delete(path);
    write(formatActivityStop(id));
  }

  #result(running: ReadonlyMap<StorePath, number>, path: StorePath, type: number, text: string): void {
    const id = running.get(path);
    if (id !== undefined) write(formatActivityResult(id, type, [text]));
  }
}

function write(line: string): void {
  process.stderr.write(line);
}
