import type { BuildSettings } from '../build-settings.js';
import type { BuilderEnd } from '../process/builder-process.js';

/** The limits of time and silence of a build that runs where only its log is seen. */
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

  /** The limit that was. */
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
    return seconds === 0 ? undefined : setTimeout(() => this.exceed(end), seconds * 1000);
  }
}
