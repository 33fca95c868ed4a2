import { existsSync, mkdirSync, rmSync, symlinkSync } from 'node:fs';
import type { StorePath } from '@larder/signing/store-path';

/**
 * Roots for what waits to be pushed: a garbage collector that runs before the cache is back must not take it. Best effort:
 * who may not make roots goes without.
 */
export class QueueRoots {
  readonly #directory: string;
  readonly #storeDir: string;

  constructor(stateDir: string, storeDir: string) {
    this.#directory = `${stateDir}/gcroots/larder-push`;
    this.#storeDir = storeDir;
  }

  add(paths: readonly StorePath[]): void {
    try {
      if (!existsSync(this.#directory)) mkdirSync(this.#directory, { recursive: true });
    } catch {
      return;
    }
    for (const path of paths) {
      try {
        symlinkSync(`${this.#storeDir}/${path}`, `${this.#directory}/${path}`);
      } catch {
        // It is there already, or may not be made.
      }
    }
  }

  remove(path: StorePath): void {
    try {
      rmSync(`${this.#directory}/${path}`, { force: true });
    } catch {
      // Left by somebody else, whose files these are.
    }
  }
}
