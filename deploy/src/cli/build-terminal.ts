import type { BuildEvent } from '@larder/builder/realise/build-event';
import type { StoreDir, StorePath } from '@larder/signing/store-path';
import { type BuildProgress, describeEvent, shortName } from './build-progress.js';
import { formatBytes, formatDuration } from './units.js';

/** Milliseconds between two looks. */
const refresh = 100;
/** Builds shown at a time, each with the last line of its log. */
const mostShown = 8;

interface RunningBuild {
  readonly started: number;
  lastLine: string;
  phase: string;
}

export interface TerminalOptions {
  /** Whether logs stay on the screen, and not only their last lines while a build runs. */
  readonly logs?: boolean;
  /** Says why a build failed; by default its whole message. */
  readonly showFailure?: (error: Error) => void;
}

/** A few lines at the foot of the terminal that renew themselves: sums, and what each build says. */
export class TerminalBuildProgress implements BuildProgress {
  readonly #storeDir: StoreDir;
  readonly #options: TerminalOptions;
  readonly #running = new Map<StorePath, RunningBuild>();
  readonly #timer = setInterval(() => this.#draw(), refresh).unref();
  #plan = { builds: 0, paths: 0, bytes: 0 };
  #done = { builds: 0, failed: 0, paths: 0, bytes: 0 };
  #drawn = 0;

  constructor(storeDir: StoreDir, options: TerminalOptions = {}) {
    this.#storeDir = storeDir;
    this.#options = options;
  }

  readonly listener = (event: BuildEvent): void => {
    switch (event.type) {
      case 'planned': {
        const { build, fetch, unpackedSize } = event.plan;
        this.#plan = { builds: build.length, paths: fetch.length, bytes: unpackedSize };
        this.#say(event);
        break;
      }
      case 'build-started':
        this.#running.set(event.derivation, { started: performance.now(), lastLine: '', phase: '' });
        break;
      case 'build-log': {
        const build = this.#running.get(event.derivation);
        if (build !== undefined) build.lastLine = event.line;
        if (this.#options.logs === true) this.#say(event);
        break;
      }
      case 'build-phase': {
        const build = this.#running.get(event.derivation);
        if (build !== undefined) build.phase = event.phase;
        break;
      }
      case 'build-finished':
        this.#running.delete(event.derivation);
        this.#done.builds++;
        break;
      case 'build-failed':
        this.#running.delete(event.derivation);
        this.#done.failed++;
        if (this.#options.showFailure === undefined) this.#say(event);
        else {
          this.#erase();
          this.#options.showFailure(event.error);
        }
        break;
      case 'copy':
        if (event.event.type === 'finished') {
          this.#done.paths++;
          this.#done.bytes += event.event.bytes;
        } else if (event.event.type === 'retried') this.#say(event);
        break;
      case 'hook-log':
      case 'note':
        this.#say(event);
        break;
      case 'hook-started':
      case 'hook-finished':
        break;
    }
  };

  finish(): void {
    clearInterval(this.#timer);
    this.#erase();
  }

  /** Above the lines that renew themselves. */
  #say(event: BuildEvent): void {
    this.#erase();
    const lines =
      event.type === 'hook-log'
        ? [`post-build-hook> ${event.line}`]
        : event.type === 'build-log'
          ? [`${shortName(event.derivation)}> ${event.line}`]
          : describeEvent(event, this.#storeDir);
    for (const line of lines) process.stderr.write(`${line}\n`);
  }

  #erase(): void {
    if (this.#drawn > 0) process.stderr.write(`\x1b[${this.#drawn}F\x1b[J`);
    this.#drawn = 0;
  }

  #draw(): void {
    const width = (process.stderr.columns ?? 80) - 1;
    const lines = [this.#summary(), ...this.#builds()];
    this.#erase();
    process.stderr.write(lines.map((line) => `${printable(line).slice(0, width)}\n`).join(''));
    this.#drawn = lines.length;
  }

  #summary(): string {
    const { builds, failed, paths, bytes } = this.#done;
    const parts = [`${builds}/${Math.max(this.#plan.builds, builds)} built`];
    if (this.#running.size > 0) parts.push(`${this.#running.size} running`);
    if (failed > 0) parts.push(`${failed} failed`);
    if (this.#plan.paths > 0) {
      parts.push(
        `${paths}/${this.#plan.paths} fetched (${formatBytes(bytes)} of ${formatBytes(this.#plan.bytes)})`,
      );
    }
    return parts.join(', ');
  }

  *#builds(): Generator<string> {
    const now = performance.now();
    for (const [derivation, { started, lastLine, phase }] of [...this.#running].slice(0, mostShown)) {
      const name = `${shortName(derivation)}${phase === '' ? '' : ` (${phase})`}`;
      yield `  ${formatDuration((now - started) / 1000)} ${name}> ${lastLine}`;
    }
    if (this.#running.size > mostShown) yield `  and ${this.#running.size - mostShown} more`;
  }
}

/** Without what would move the cursor. */
function printable(line: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what must go
  return line.replace(/\x1b\[[0-9;]*[A-Za-z]/g, '').replace(/[\x00-\x1f\x7f]/g, ' ');
}
