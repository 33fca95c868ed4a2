import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { type Larder, larderExecutable } from './larder.js';

/** A running `larder proxy`. */
export class RunningProxy implements AsyncDisposable {
  readonly url: string;
  /** What it said so far. */
  readonly notes: string[] = [];
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, url: string) {
    this.#child = child;
    this.url = url;
  }

  static async start(larder: Larder, args: readonly string[]): Promise<RunningProxy> {
    const child = spawn(
      process.execPath,
      [
        larderExecutable,
        'proxy',
        '--listen',
        '127.0.0.1:0',
        '--directory',
        larder.scratch.join('shelf'),
        ...args,
      ],
      { env: larder.env, stdio: ['ignore', 'ignore', 'pipe'] },
    );
    const lines = createInterface({ input: child.stderr! });
    const said: string[] = [];
    const url = await new Promise<string>((resolve, reject) => {
      lines.on('line', (line) => {
        said.push(line);
        const match = /substituters = (http:\S+)/.exec(line);
        if (match !== null) resolve(match[1]!);
      });
      child.once('exit', () => reject(new Error(`larder proxy ended: ${said.join('\n')}`)));
    });
    const proxy = new RunningProxy(child, url);
    lines.on('line', (line) => proxy.notes.push(line));
    return proxy;
  }

  async status(): Promise<{ kept: { archives: number; bytes: number }; bytes: Record<string, number> }> {
    return (await fetch(`${this.url}/_larder/status`)).json() as never;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, 'exit');
    this.#child.kill();
    await ended;
  }
}
