import type { StorePath } from '@larder/signing/store-path';
import type { CopyEvent, CopyListener } from '@larder/substituter/copy/copy-events';
import { formatBytes, formatDuration } from './units.js';

export interface ProgressOptions {
  /** Events as JSON, one a line, on standard output. */
  readonly json?: boolean;
  readonly quiet?: boolean;
}

/** Shows how a copy goes on: a line that renews itself on a terminal, a line a path elsewhere. */
export interface Progress {
  readonly listener: CopyListener;
  /** Takes the terminal line away, and says what was done. */
  finish(): void;
}

export function createProgress({ json, quiet }: ProgressOptions): Progress {
  if (json === true) return { listener: (event) => printJson(event), finish: () => {} };
  if (quiet === true) return { listener: () => {}, finish: () => {} };
  return process.stderr.isTTY ? new TerminalProgress() : new PlainProgress();
}

function printJson(event: CopyEvent): void {
  // Bytes come thousands of times a second: sums are in the events around them.
  if (event.type === 'progress') return;
  const shown = event.type === 'retried' ? { ...event, error: event.error.message } : event;
  process.stdout.write(`${JSON.stringify(shown)}\n`);
}

class PlainProgress implements Progress {
  #total = 0;
  #done = 0;

  readonly listener: CopyListener = (event) => {
    if (event.type === 'planned') {
      this.#total = event.paths;
      if (event.paths > 0) print(`copying ${event.paths} paths (${formatBytes(event.bytes)})`);
    } else if (event.type === 'finished') {
      print(`[${++this.#done}/${this.#total}] ${event.path} (${formatBytes(event.bytes)})`);
    } else {
      printRemark(event);
    }
  };

  finish(): void {
    if (this.#total === 0) print('nothing to copy: everything is there');
  }
}

/** Milliseconds between two looks of the terminal line. */
const refresh = 100;

class TerminalProgress implements Progress {
  readonly #started = performance.now();
  readonly #timer = setInterval(() => this.#draw(), refresh).unref();
  readonly #underWay = new Map<StorePath, number>();
  #plan = { paths: 0, bytes: 0 };
  #paths = 0;
  #finishedBytes = 0;

  readonly listener: CopyListener = (event) => {
    switch (event.type) {
      case 'planned':
        this.#plan = event;
        break;
      case 'started':
        this.#underWay.set(event.path, 0);
        break;
      case 'progress':
        this.#underWay.set(event.path, (this.#underWay.get(event.path) ?? 0) + event.bytes);
        break;
      case 'finished':
        this.#underWay.delete(event.path);
        this.#paths++;
        this.#finishedBytes += event.bytes;
        break;
      case 'waiting':
      case 'retried':
        this.#underWay.delete(event.path);
        process.stderr.write('\r\x1b[K');
        printRemark(event);
    }
  };

  finish(): void {
    clearInterval(this.#timer);
    const seconds = (performance.now() - this.#started) / 1000;
    const done =
      this.#plan.paths === 0
        ? 'nothing to copy: everything is there'
        : `copied ${this.#paths} paths, ${formatBytes(this.#finishedBytes)} in ${formatDuration(seconds)}`;
    process.stderr.write(`\r\x1b[K${done}\n`);
  }

  #draw(): void {
    const { paths, bytes } = this.#plan;
    if (paths === 0) {
      process.stderr.write('\r\x1b[Klooking for what is missing …');
      return;
    }
    const handled = this.#finishedBytes + [...this.#underWay.values()].reduce((sum, each) => sum + each, 0);
    const seconds = (performance.now() - this.#started) / 1000;
    const rate = handled / seconds;
    const left = rate > 0 && handled < bytes ? `, ${formatDuration((bytes - handled) / rate)} left` : '';
    const line =
      `${this.#paths}/${paths} paths, ${formatBytes(handled)} of ${formatBytes(bytes)}, ` +
      `${formatBytes(rate)}/s${left}`;
    process.stderr.write(`\r\x1b[K${line.slice(0, (process.stderr.columns ?? 80) - 1)}`);
  }
}

function printRemark(event: CopyEvent): void {
  if (event.type === 'waiting') print(`another process is adding ${event.path}: waiting for it`);
  if (event.type === 'retried') print(`${event.error.message}; taking it from ${event.source}`);
}

function print(text: string): void {
  process.stderr.write(`${text}\n`);
}
