import { type FSWatcher, watch } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { StorePath } from '@larder/signing/store-path';
import type { LocalStore } from '../local-store/local-store.js';

/** How often the database is asked even when nothing is heard of it, in milliseconds. */
const slowestLook = 2_000;

export interface FoundChanges {
  readonly paths: readonly StorePath[];
  /** Where to go on from, in another process too: positions only grow, and outlive restarts. */
  readonly position: number;
}

/**
 * What becomes valid in a store, whoever adds it. The database is the truth: it numbers paths in the order in which they
 * became valid. The kernel only tells when to ask it, so nothing is lost when it tells too little.
 */
export class StoreChanges {
  readonly #store: LocalStore;
  #position: number;

  /** `position` is where an earlier watch ended; by default, only what comes from now on is told. */
  constructor(store: LocalStore, position: number = store.lastPosition) {
    this.#store = store;
    this.#position = position;
  }

  get position(): number {
    return this.#position;
  }

  /** What came since the last call, without waiting. */
  take(): StorePath[] {
    const all: StorePath[] = [];
    for (;;) {
      const { paths, position } = this.#store.queryPathsAfter(this.#position);
      if (paths.length === 0) return all;
      all.push(...paths);
      this.#position = position;
    }
  }

  /** What comes, in batches, until the signal ends it. What came up to then is still given. */
  async *watch(signal: AbortSignal): AsyncGenerator<FoundChanges, void, undefined> {
    const bell = new DatabaseBell(`${this.#store.layout.stateDir}/db`);
    try {
      for (;;) {
        const paths = this.take();
        if (paths.length > 0) yield { paths, position: this.#position };
        if (signal.aborted) return;
        await bell.wait(slowestLook, signal);
      }
    } finally {
      bell.close();
    }
  }
}

/** Rings when files of a database change. */
class DatabaseBell {
  #watcher: FSWatcher | undefined;
  #rung = false;
  #wake: (() => void) | undefined;

  constructor(directory: string) {
    try {
      this.#watcher = watch(directory, () => this.#ring()).on('error', () => this.#watcher?.close());
    } catch {
      // No more watches to be had: it is asked every other second then.
    }
  }

  #ring(): void {
    this.#rung = true;
    this.#wake?.();
  }

  /** Until it rang since the last wait, the time is over, or the signal is raised. */
  async wait(pause: number, signal: AbortSignal): Promise<void> {
    if (!this.#rung) {
      const wake = new AbortController();
      this.#wake = () => wake.abort();
      await sleep(pause, undefined, { signal: AbortSignal.any([signal, wake.signal]) }).catch(() => {});
      this.#wake = undefined;
    }
    this.#rung = false;
  }

  close(): void {
    this.#watcher?.close();
  }
}
