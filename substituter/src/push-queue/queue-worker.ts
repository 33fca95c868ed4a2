import { watch } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { LarderError } from '@larder/signing/errors';
import type { StorePath } from '@larder/signing/store-path';
import { HttpError } from '../http/http-error.js';
import type { PushJob, PushQueue } from './push-queue.js';
import type { PushTarget } from './push-target.js';

/** Pushes to one target; closed when nothing is left for it. */
export interface TargetPusher extends AsyncDisposable {
  /** Pushes paths with all they refer to. */
  push(paths: readonly StorePath[]): Promise<void>;
  /** Which of these the store has (any more). */
  valid(paths: readonly StorePath[]): Promise<ReadonlySet<StorePath>>;
  /** Lets a path that is done with be collected. */
  unroot(path: StorePath): void;
}

export interface QueueWorkerOptions {
  readonly queue: PushQueue;
  readonly openTarget: (target: PushTarget) => Promise<TargetPusher>;
  readonly onNote: (text: string) => void;
  readonly signal: AbortSignal;
}

/** Paths pushed by one call: enough to share closures and round trips. */
const batchSize = 200;

/** How often the queue is looked at even when nothing is heard, in milliseconds. */
const slowestLook = 2_000;

/** Works a queue off: the caller holds its lock. */
export class QueueWorker {
  readonly #options: QueueWorkerOptions;

  constructor(options: QueueWorkerOptions) {
    this.#options = options;
  }

  /** Works for as long as the signal lets it, or until the queue was empty for `linger` milliseconds. */
  async run({ linger = Number.POSITIVE_INFINITY }: { readonly linger?: number } = {}): Promise<void> {
    const { queue, signal } = this.#options;
    let idleSince = Date.now();
    while (!signal.aborted) {
      await this.#pushDue();
      const next = queue.nextDue;
      if (next !== undefined) idleSince = Date.now();
      else if (Date.now() - idleSince >= linger && queue.leaveIfEmpty(process.pid)) return;
      const pause = next === undefined ? slowestLook : Math.min(slowestLook, next - Date.now());
      await this.#waitForMore(Math.min(Math.max(20, pause), Math.max(20, linger)));
    }
  }

  /**
   * Tries everything at once until it is through, or until all that is left failed `attempts` times more.
   * Gives whether the queue is empty.
   */
  async flush(attempts: number): Promise<boolean> {
    const { queue, signal } = this.#options;
    const before = queue.attempts();
    for (;;) {
      signal.throwIfAborted();
      queue.hurry();
      await this.#pushDue();
      const left = queue.attempts();
      if (left.size === 0) return true;
      if ([...left].every(([id, now]) => now - (before.get(id) ?? 0) >= attempts)) return false;
    }
  }

  async #pushDue(): Promise<void> {
    for (const { id, target } of this.#options.queue.dueTargets()) {
      if (this.#options.signal.aborted) return;
      await this.#pushTarget(id, target);
    }
  }

  async #pushTarget(id: number, target: PushTarget): Promise<void> {
    const { queue, signal } = this.#options;
    let pusher: TargetPusher;
    try {
      pusher = await this.#options.openTarget(target);
    } catch (error) {
      this.#fail(queue.dueJobs(id, Number.MAX_SAFE_INTEGER), error);
      return;
    }
    await using _ = pusher;
    for (;;) {
      const jobs = queue.dueJobs(id, batchSize);
      if (jobs.length === 0 || signal.aborted) return;
      await this.#pushJobs(pusher, jobs);
    }
  }

  async #pushJobs(pusher: TargetPusher, jobs: readonly PushJob[]): Promise<void> {
    const { signal, onNote } = this.#options;
    const valid = await pusher.valid(jobs.map(({ path }) => path));
    const gone = jobs.filter(({ path }) => !valid.has(path));
    for (const { path } of gone) onNote(`${path} is no longer in the store and is taken off the queue`);
    this.#finish(pusher, gone);
    const ready = jobs.filter(({ path }) => valid.has(path));
    if (ready.length === 0) return;
    try {
      await pusher.push(ready.map(({ path }) => path));
      this.#finish(pusher, ready);
    } catch (error) {
      if (signal.aborted) return;
      // The cache being down is nothing that one path could be blamed for; anything else may be.
      if (ready.length === 1 || isCacheDown(error)) this.#fail(ready, error);
      else for (const job of ready) await this.#pushJobs(pusher, [job]);
    }
  }

  #finish(pusher: TargetPusher, jobs: readonly PushJob[]): void {
    const { queue } = this.#options;
    queue.finish(jobs);
    for (const { path } of jobs) if (!queue.has(path)) pusher.unroot(path);
  }

  #fail(jobs: readonly PushJob[], error: unknown): void {
    const { queue, signal, onNote } = this.#options;
    if (signal.aborted || jobs.length === 0) return;
    if (!(error instanceof Error)) throw error;
    queue.postpone(jobs, error.message);
    const what = jobs.length === 1 ? jobs[0]!.path : `${jobs.length} paths`;
    onNote(`${what} cannot be pushed now and will be tried again: ${error.message}`);
  }

  /** Until the queue's files change, or the time is over. */
  async #waitForMore(pause: number): Promise<void> {
    const { queue, signal } = this.#options;
    const wake = new AbortController();
    const file = `${queue.file}-wal`;
    let watcher: ReturnType<typeof watch> | undefined;
    try {
      watcher = watch(file, () => wake.abort()).on('error', () => {});
    } catch {
      // Not there until somebody writes: then the time has to pass.
    }
    await sleep(pause, undefined, { signal: AbortSignal.any([signal, wake.signal]) }).catch(() => {});
    watcher?.close();
  }
}

function isCacheDown(error: unknown): boolean {
  if (error instanceof HttpError) return error.code !== 'cache-refused';
  return !(error instanceof LarderError);
}
