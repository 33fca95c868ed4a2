import { BuildFailure } from '@larder/builder/build-failure';
import type { BuildEvent, BuildListener } from '@larder/builder/realise/build-event';
import { type StoreDir, type StorePath, storePathName } from '@larder/signing/store-path';
import { formatPlan } from './build-plan.js';
import { describeStart } from './build-start.js';
import { TerminalBuildProgress } from './build-terminal.js';
import { NixLogProgress } from './nix-log-progress.js';

/** The forms of `--log-format`: Larder's own, and Nix's. */
export const logFormats = [
  ...(['auto', 'bar', 'bar-with-logs', 'plain', 'raw', 'raw-with-logs'] as const),
  ...(['internal-json', 'json', 'quiet'] as const),
];

export type LogFormat = (typeof logFormats)[number];

/** Shows how builds go on, on standard error. */
export interface BuildProgress {
  readonly listener: BuildListener;
  /** Takes away what was shown only meanwhile; may be called again. */
  finish(): void;
}

/** Whether a failure was shown when it happened. */
export function wasShown(error: unknown, format: LogFormat): boolean {
  return (
    format !== 'quiet' &&
    format !== 'json' &&
    error instanceof BuildFailure &&
    error.code !== 'dependency-failed'
  );
}

export function createBuildProgress(format: LogFormat, storeDir: StoreDir): BuildProgress {
  if (format === 'json') return { listener: printJson, finish: () => {} };
  if (format === 'quiet') return { listener: () => {}, finish: () => {} };
  if (format === 'internal-json') return new NixLogProgress(storeDir);
  if (format === 'bar' || format === 'bar-with-logs' || (format === 'auto' && process.stderr.isTTY))
    return new TerminalBuildProgress(storeDir, { logs: format === 'bar-with-logs' });
  return { listener: (event) => printPlain(event, storeDir, format), finish: () => {} };
}

/** A derivation's name for the start of its log lines. */
export function shortName(derivation: StorePath): string {
  return storePathName(derivation).replace(/\.drv$/, '');
}

/** What an event says that should stay on the screen. */
export function describeEvent(event: BuildEvent, storeDir: StoreDir): string[] {
  switch (event.type) {
    case 'planned':
      return formatPlan(event.plan, storeDir);
    case 'build-started': {
      const path = storeDir.format(event.derivation);
      return [describeStart(event, path)];
    }
    case 'build-failed':
      return event.error.message.split('\n');
    case 'note':
      return [event.text];
    case 'copy':
      return describeCopy(event.event, storeDir);
    case 'build-log':
    case 'build-phase':
    case 'hook-started':
    case 'hook-finished':
    case 'hook-log':
    case 'build-finished':
      return [];
  }
}

function describeCopy(event: Extract<BuildEvent, { type: 'copy' }>['event'], storeDir: StoreDir): string[] {
  if (event.type === 'started')
    return [`copying path '${storeDir.format(event.path)}' from '${event.source}'...`];
  if (event.type === 'retried') return [`${event.error.message}; taking it from ${event.source}`];
  return [];
}

function printPlain(event: BuildEvent, storeDir: StoreDir, format: LogFormat): void {
  if (event.type === 'build-log') {
    // Nix's own forms: the lines as they are, or none.
    if (format === 'raw-with-logs') print(event.line);
    else if (format !== 'raw') print(`${shortName(event.derivation)}> ${event.line}`);
  } else if (event.type === 'hook-log') print(`post-build-hook> ${event.line}`);
  else for (const line of describeEvent(event, storeDir)) print(line);
}

function printJson(event: BuildEvent): void {
  if (event.type === 'copy') {
    // Bytes come thousands of times a second: sums are in the events around them.
    if (event.event.type !== 'progress')
      process.stderr.write(`${JSON.stringify({ ...event.event, copy: true })}\n`);
  } else if (event.type === 'planned') {
    const { build, fetch, unknown, downloadSize, unpackedSize } = event.plan;
    const paths = fetch.map(({ info }) => info.storePath);
    process.stderr.write(
      `${JSON.stringify({ type: event.type, build, fetch: paths, unknown, downloadSize, unpackedSize })}\n`,
    );
  } else if (event.type === 'build-failed') {
    const { code, message } = event.error;
    process.stderr.write(
      `${JSON.stringify({ type: event.type, derivation: event.derivation, code, message })}\n`,
    );
  } else process.stderr.write(`${JSON.stringify(event)}\n`);
}

function print(text: string): void {
  process.stderr.write(`${text}\n`);
}
