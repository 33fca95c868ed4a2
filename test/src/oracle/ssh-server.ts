import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { userInfo } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { LarderError } from '@larder/signing/errors';
import { componentCommand } from '../engines/components.js';
import { neutralEnvironment } from '../engines/config.js';
import { freePort, makeScratch, type Scratch } from '../engines/scratch.js';
import { runProgram } from './program.js';

/** An sshd on this machine's loopback, with keys of its own, for the user who runs it. */
export class SshServer implements AsyncDisposable {
  readonly host: string;
  readonly port: number;
  /** The private key that may log in. */
  readonly keyFile: string;
  /** The host's public key: `ssh-ed25519 AAAA…`. */
  readonly hostKey: string;
  /** Arguments with which ssh logs in here and takes nothing of its user's own configuration. */
  readonly options: readonly string[];
  readonly #scratch: Scratch;
  readonly #process: ChildProcess;

  private constructor(
    scratch: Scratch,
    child: ChildProcess,
    { port, hostKey }: { port: number; hostKey: string },
  ) {
    this.#scratch = scratch;
    this.#process = child;
    this.host = `${userInfo().username}@127.0.0.1`;
    this.port = port;
    this.keyFile = scratch.join('login-key');
    this.hostKey = hostKey;
    const options = [`KnownHostsCommand=/usr/bin/env echo %H ${hostKey}`, 'UserKnownHostsFile=/dev/null'];
    this.options = ['-F', 'none', '-i', this.keyFile, '-p', String(port), '-o', 'BatchMode=yes'].concat(
      options.flatMap((each) => ['-o', each]),
    );
  }

  /**
   * @param env the environment of the commands that are run there
   * @param wrapper a command that runs each of them, as `wrapper sh -c COMMAND`: to put them elsewhere
   */
  static async start(
    env: Readonly<Record<string, string>>,
    wrapper: readonly string[] = [],
  ): Promise<SshServer> {
    const scratch = await makeScratch('sshd');
    // sshd wants its keys, and what is above them, to be its user's alone.
    await chmod(scratch.path, 0o700);
    const neutral = { env: neutralEnvironment(scratch.path) };
    for (const name of ['host-key', 'login-key']) {
      const make = ['-q', '-t', 'ed25519', '-N', '', '-C', 'test', '-f', scratch.join(name)];
      await runProgram(componentCommand('ssh', 'ssh-keygen'), make, neutral);
    }
    // Where sshd run by root locks its unprivileged part up; its package's service makes it.
    if (process.getuid?.() === 0) await mkdir('/run/sshd', { recursive: true, mode: 0o755 });
    const port = await freePort();
    const lines = [
      'ListenAddress 127.0.0.1',
      `HostKey ${scratch.join('host-key')}`,
      `AuthorizedKeysFile ${scratch.join('login-key.pub')}`,
      'PidFile none',
      'StrictModes no',
      'PasswordAuthentication no',
      'KbdInteractiveAuthentication no',
      'PermitRootLogin yes',
      ...(wrapper.length > 0 ? [`ForceCommand ${wrapper.join(' ')} sh -c "$SSH_ORIGINAL_COMMAND"`] : []),
      `SetEnv ${Object.entries(env)
        .map(([name, value]) => `"${name}=${value}"`)
        .join(' ')}`,
    ];
    await writeFile(scratch.join('config'), `${lines.join('\n')}\n`);
    const args = ['-D', '-e', '-f', scratch.join('config'), '-p', String(port)];
    const child = spawn(componentCommand('ssh', 'sshd'), args, { stdio: ['ignore', 'ignore', 'pipe'] });
    let log = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      log = (log + text).slice(-4096);
    });
    const hostKey = (await readFile(scratch.join('host-key.pub'), 'utf8')).split(' ').slice(0, 2).join(' ');
    const server = new SshServer(scratch, child, { port, hostKey });
    for (let tries = 0; !(await answers(port)); tries++) {
      if (tries > 200 || child.exitCode !== null) {
        await server[Symbol.asyncDispose]();
        throw new LarderError('engine-failed', `sshd does not listen: ${log}`);
      }
      await sleep(50);
    }
    return server;
  }

  /** `NIX_SSHOPTS` for whoever names it `root@127.0.0.1:PORT`. */
  get nixOptions(): Readonly<Record<string, string>> {
    const words = this.options.map((word) => (word.includes(' ') ? `"${word}"` : word));
    return { NIX_SSHOPTS: words.join(' ') };
  }

  /** The store there, for Larder and Nix, with what it takes to get in. */
  storeUri(parameters: Readonly<Record<string, string>> = {}): string {
    const all = {
      'ssh-key': this.keyFile,
      'base64-ssh-public-host-key': Buffer.from(this.hostKey).toString('base64'),
      ...parameters,
    };
    const query = Object.entries(all).map(([name, value]) => `${name}=${encodeURIComponent(value)}`);
    return `ssh-ng://${this.host}:${this.port}?${query.join('&')}`;
  }

  /** Ends the sessions that are open, as when the machine is gone; new ones may come. */
  async dropSessions(): Promise<void> {
    const { pid } = this.#process;
    const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8');
    for (const child of children.trim().split(' ')) if (child !== '') process.kill(Number(child), 'SIGKILL');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process.exitCode === null && this.#process.pid !== undefined) {
      const exit = once(this.#process, 'exit');
      this.#process.kill();
      await exit;
    }
    await this.#scratch[Symbol.asyncDispose]();
  }
}

async function answers(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
