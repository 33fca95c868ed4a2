import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { LarderError } from '@larder/signing/errors';
import { parseCacheDescription } from '@larder/signing/upload';
import { freePort } from '../engines/scratch.js';
import { type Larder, larderExecutable } from './larder.js';

export interface ServeOptions {
  /** The data directory; by default `data` in the scratch directory of `larder`. */
  readonly data?: string;
  /** By default a free one. */
  readonly port?: number;
  /** More arguments of `larder serve`, such as `--config FILE`. */
  readonly args?: readonly string[];
}

/** A running `larder serve`; disposing of it ends it as an operator would, with SIGTERM. */
export class LarderServer implements AsyncDisposable {
  readonly url: string;
  readonly port: number;
  readonly data: string;
  /** The file with the admin token. */
  readonly tokenFile: string;
  readonly #child: ChildProcess;
  readonly #log: string;

  private constructor(child: ChildProcess, place: { port: number; data: string; log: string }) {
    this.#child = child;
    this.port = place.port;
    this.data = place.data;
    this.url = `http://127.0.0.1:${place.port}`;
    this.tokenFile = `${place.data}/admin-token`;
    this.#log = place.log;
  }

  /** Starts one and waits until it says that it is ready. */
  static async start(larder: Larder, options: ServeOptions = {}): Promise<LarderServer> {
    const { data = larder.scratch.join('data'), port = await freePort(), args = [] } = options;
    // A file, not a pipe: a log line a request would keep the test process busy as well.
    const log = larder.scratch.join(`serve-${port}.log`);
    await using file = await open(log, 'a');
    const child = spawn(
      process.execPath,
      [larderExecutable, 'serve', '--data', data, '--listen', `127.0.0.1:${port}`, ...args],
      { env: larder.env, stdio: ['ignore', file.fd, file.fd] },
    );
    const server = new LarderServer(child, { port, data, log });
    await server.#becomeReady();
    return server;
  }

  /** The public cache that an empty data directory gets. */
  get cache(): string {
    return `${this.url}/main`;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** The last of what it printed. */
  async output(): Promise<string> {
    return (await readFile(this.#log, 'utf8')).slice(-65_536);
  }

  token(): Promise<string> {
    return readFile(this.tokenFile, 'utf8').then((text) => text.trim());
  }

  /** The public keys that the server says the cache signs with. */
  async publicKeys(cache = 'main'): Promise<readonly string[]> {
    const answer = await fetch(`${this.url}/api/v1/caches/${cache}`);
    return parseCacheDescription(await answer.json()).publicKeys;
  }

  /** Resolves when it has ended, by whatever cause. */
  async ended(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, 'exit');
  }

  /** Ends it; returns its exit code, or the signal that ended it. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | NodeJS.Signals | null> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const ended = once(this.#child, 'exit');
      this.#child.kill(signal);
      await ended;
    }
    return this.#child.exitCode ?? this.#child.signalCode;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #becomeReady(): Promise<void> {
    const deadline = Date.now() + 60_000;
    for (;;) {
      const ready = await fetch(`${this.url}/readyz`).then(
        (answer) => answer.ok,
        () => false,
      );
      if (ready) return;
      if (this.#child.exitCode !== null || this.#child.signalCode !== null || Date.now() > deadline) {
        await this.stop('SIGKILL');
        throw new LarderError('server-failed', `larder serve did not become ready:\n${await this.output()}`);
      }
      await delay(20);
    }
  }
}
