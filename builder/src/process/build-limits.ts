import type { BuildSettings } from '../build-settings.js';
import type { BuilderEnd } from './builder-process.js';

/** The longest that Node waits, in seconds: what is set for longer it calls at once. */
const longestTimer = (2 ** 31 - 1) / 1000;

/** The limits of time and silence of a build, and what ends one before its time. */
export class BuildLimits implements Disposable {
  readonly #controller = new AbortController();
  readonly #timeout: NodeJS.Timeout | undefined;
  readonly #silence: NodeJS.Timeout | undefined;
  #exceeded: BuilderEnd | undefined;

  constructor({ timeout, maxSilentTime }: Pick<BuildSettings, 'timeout' | 'maxSilentTime'>) {
    this.#timeout = this.#after(timeout, { type: 'timeout', seconds: timeout });
    this.#silence = this.#after(maxSilentTime, { type: 'silence', seconds: maxSilentTime });
  }

  /** Aborted when a limit is exceeded. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** The limit that was, or what else ended the build. */
  get exceeded(): BuilderEnd | undefined {
    return this.#exceeded;
  }

  noteOutput(): void {
    this.#silence?.refresh();
  }

  exceed(end: BuilderEnd): void {
    this.#exceeded ??= end;
    this.#controller.abort();
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timeout);
    clearTimeout(this.#silence);
  }

  #after(seconds: number, end: BuilderEnd): NodeJS.Timeout | undefined {
    // Most of a month is as good as no limit.
    if (seconds === 0 || seconds > longestTimer) return undefined;
    return setTimeout(() => this.exceed(end), seconds * 1000);
  }
}
