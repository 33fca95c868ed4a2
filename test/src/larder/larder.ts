import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { neutralEnvironment } from '../engines/config.js';
import { makeScratch, type Scratch } from '../engines/scratch.js';
import { type ProgramOptions, type ProgramResult, runProgram, tryProgram } from '../oracle/program.js';

/** The executable, as the clone has it. */
export const larderExecutable: string = fileURLToPath(
  new URL('../../../deploy/bin/larder.js', import.meta.url),
);

/** The `larder` executable with a home, a configuration and a store of its own; nothing of the machine's is read. */
export class Larder implements AsyncDisposable {
  /** A scratch directory that goes with it. */
  readonly scratch: Scratch;
  readonly env: Readonly<Record<string, string>>;

  private constructor(scratch: Scratch) {
    this.scratch = scratch;
    this.env = {
      ...neutralEnvironment(scratch.join('home')),
      XDG_CACHE_HOME: scratch.join('cache'),
      NIX_CONF_DIR: scratch.join('conf'),
      TMPDIR: scratch.join('tmp'),
    };
  }

  /** Makes one: `await using larder = await Larder.create()`. */
  static async create(): Promise<Larder> {
    const scratch = await makeScratch('cli');
    for (const folder of ['home', 'conf', 'tmp', 'cache']) await mkdir(scratch.join(folder));
    return new Larder(scratch);
  }

  /** Runs a verb that must succeed; returns what it printed, the last newline off. */
  async run(args: readonly string[], options: ProgramOptions = {}): Promise<string> {
    const output = await runProgram(process.execPath, [larderExecutable, ...args], {
      env: this.env,
      ...options,
    });
    return output.toString().replace(/\n$/, '');
  }

  /** Runs a verb to its end, whatever its exit code. */
  try(args: readonly string[], options: ProgramOptions = {}): Promise<ProgramResult> {
    return tryProgram(process.execPath, [larderExecutable, ...args], { env: this.env, ...options });
  }

  /** Starts a verb without waiting for it. */
  start(args: readonly string[]): ChildProcess {
    return spawn(process.execPath, [larderExecutable, ...args], {
      env: this.env,
      stdio: 'ignore',
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.scratch[Symbol.asyncDispose]();
  }
}
