import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync } from 'node:fs';
import { Socket } from 'node:net';
import { BuildLimits } from './build-limits.js';
import type { LogPipe } from './fifo-pool.js';

export interface BuilderCommand {
  readonly program: string;
  readonly args: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly directory?: string;
  /** Open files to hand over as numbers 3 and up. */
  readonly files: readonly number[];
  readonly user: { readonly uid: number; readonly gid: number } | undefined;
}

export interface RunOptions {
  readonly pipe: LogPipe;
  /** All the build prints, as it comes. Returns false to end the build: it printed too much. */
  readonly onOutput: (chunk: Buffer) => boolean;
  /** In seconds, 0 for none. */
  readonly timeout: number;
  readonly maxSilentTime: number;
  readonly signal?: AbortSignal;
}

/** How long a builder may go on after it has closed its log, in milliseconds. */
const endGrace = 2000;

/** How a builder ended. */
export type BuilderEnd =
  | { readonly type: 'exit'; readonly status: number }
  | { readonly type: 'signal'; readonly name: string }
  | { readonly type: 'timeout'; readonly seconds: number }
  | { readonly type: 'silence'; readonly seconds: number }
  | { readonly type: 'log-limit' }
  | { readonly type: 'cancelled' };

/**
 * Runs a builder until it has exited and nobody holds its output any more, or kills it and all its processes
 * when it takes too long.
 * @throws when the program cannot be started
 */
export async function runBuilder(command: BuilderCommand, options: RunOptions): Promise<BuilderEnd> {
  options.signal?.throwIfAborted();
  const { pipe } = options;
  let child: ChildProcess;
  try {
    child = spawn(command.program, command.args, {
      env: command.environment,
      cwd: command.directory,
      // A process group of its own, to be killed as one.
      detached: true,
      stdio: ['ignore', pipe.writeEnd, pipe.writeEnd, ...command.files],
      ...(command.user === undefined ? {} : { uid: command.user.uid, gid: command.user.gid }),
    });
  } catch (error) {
    closeSync(pipe.readEnd);
    throw error;
  } finally {
    closeSync(pipe.writeEnd);
    for (const file of command.files) closeSync(file);
  }
  return new BuilderRun(child, options).end();
}

class BuilderRun {
  readonly #child: ChildProcess;
  readonly #options: RunOptions;

  constructor(child: ChildProcess, options: RunOptions) {
    this.#child = child;
    this.#options = options;
  }

  async end(): Promise<BuilderEnd> {
    const { signal } = this.#options;
    using limits = new BuildLimits(this.#options);
    limits.signal.addEventListener('abort', () => this.#killGroup());
    const cancel = () => limits.exceed({ type: 'cancelled' });
    signal?.addEventListener('abort', cancel, { once: true });
    try {
      const [ended] = await Promise.all([this.#waitForExit(), this.#readOutput(limits)]);
      return limits.exceeded ?? ended;
    } finally {
      signal?.removeEventListener('abort', cancel);
      this.#options.pipe.release();
    }
  }

  #waitForExit(): Promise<BuilderEnd> {
    return new Promise((resolve, reject) => {
      this.#child.on('error', reject);
      this.#child.on('exit', (status, name) => {
        // Whatever it left behind in its group would hold the log open.
        this.#killGroup();
        resolve(name === null ? { type: 'exit', status: status ?? 1 } : { type: 'signal', name });
      });
    });
  }

  #readOutput(limits: BuildLimits): Promise<void> {
    return new Promise((resolve, reject) => {
      const reader = new Socket({ fd: this.#options.pipe.readEnd, readable: true, writable: false });
      reader.on('data', (chunk: Buffer) => {
        limits.noteOutput();
        if (limits.exceeded !== undefined) return;
        if (!this.#options.onOutput(chunk)) limits.exceed({ type: 'log-limit' });
      });
      reader.on('error', reject);
      reader.on('close', () => {
        // As with Nix, a build is over when nobody can write to its log any more, whatever still runs.
        this.#endSoon();
        resolve();
      });
      // A program that could not be started has no output, and no exit either.
      this.#child.on('error', () => reader.destroy());
    });
  }

  /** Gives the builder, which may just be ending, a moment to do so by itself. */
  #endSoon(): void {
    const { pid, exitCode, signalCode } = this.#child;
    if (pid === undefined || exitCode !== null || signalCode !== null) return;
    const grace = setTimeout(() => this.#killGroup(), endGrace);
    this.#child.on('exit', () => clearTimeout(grace));
  }

  #killGroup(): void {
    if (this.#child.pid === undefined) return;
    try {
      process.kill(-this.#child.pid, 'SIGKILL');
    } catch {
      // Nobody of the group is left.
    }
  }
}
