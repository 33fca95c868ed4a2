import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { LarderError } from '@larder/signing/errors';
import { componentCommand } from '../engines/components.js';

/** A running `nix-daemon` on a store of a test's own. */
export class NixDaemon implements AsyncDisposable {
  /** Its Unix socket; Larder and Nix both take `unix://<socket>` as a store. */
  readonly socket: string;
  readonly #process: ChildProcess;

  private constructor(socket: string, process: ChildProcess) {
    this.socket = socket;
    this.#process = process;
  }

  static async start(socket: string, env: Readonly<Record<string, string>>): Promise<NixDaemon> {
    const command = componentCommand('nix', 'nix-daemon');
    await rm(socket, { force: true });
    const child = spawn(command, [], { env: { ...env, NIX_DAEMON_SOCKET_PATH: socket }, stdio: 'ignore' });
    const daemon = new NixDaemon(socket, child);
    for (let tries = 0; !existsSync(socket); tries++) {
      if (tries > 200 || child.exitCode !== null) {
        await daemon[Symbol.asyncDispose]();
        throw new LarderError('engine-failed', `nix-daemon does not listen at ${socket}`);
      }
      await sleep(25);
    }
    return daemon;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process.exitCode !== null) return;
    const exit = once(this.#process, 'exit');
    this.#process.kill();
    await exit;
  }
}
