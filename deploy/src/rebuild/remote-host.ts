import { spawn } from 'node:child_process';
import { LarderError } from '@larder/signing/errors';
import { readSshOptions } from '@larder/substituter/config';
import { quoteForShell, type SshTarget, sshCommand } from '@larder/substituter/daemon/ssh-target';
import { parseStoreUri } from '@larder/substituter/store-uri';

/** Another machine, reached by ssh: `[USER@]HOST[:PORT]`. More arguments for ssh are in `NIX_SSHOPTS`. */
export class RemoteHost {
  readonly name: string;
  readonly #target: SshTarget;
  readonly #sudo: boolean;

  /** @throws `store-uri-invalid` for what is no host */
  constructor(name: string, { sudo = false }: { readonly sudo?: boolean } = {}) {
    const uri = parseStoreUri(`ssh-ng://${name}`);
    if (uri.kind !== 'ssh-ng' || uri.parameters.size > 0)
      throw new LarderError('usage', `'${name}' is not a host: give [USER@]HOST[:PORT]`);
    this.name = name;
    this.#target = { host: uri.host, user: uri.user, port: uri.port, options: readSshOptions() };
    this.#sudo = sudo;
  }

  get storeUri(): string {
    return `ssh-ng://${this.name}`;
  }

  /**
   * Runs a POSIX shell's script there, as root where that takes sudo; what it says on either stream goes to standard
   * error.
   * @throws `remote-failed`
   */
  async run(script: string, signal?: AbortSignal): Promise<void> {
    const shell = ['sh', '-c', script];
    const words = (this.#sudo ? ['sudo', ...shell] : shell).map(quoteForShell);
    // Where sudo may ask for a password, it needs a terminal there.
    const terminal = this.#sudo && process.stdin.isTTY ? ['-t'] : [];
    const target = { ...this.#target, options: [...terminal, ...this.#target.options] };
    const [program, ...args] = sshCommand(target, words);
    const child = spawn(program!, args, {
      stdio: [terminal.length > 0 ? 'inherit' : 'ignore', process.stderr, process.stderr],
      signal,
    });
    const status = await new Promise<number | string>((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code, by) => resolve(code ?? by ?? 1));
    });
    if (status !== 0) {
      throw new LarderError('remote-failed', `${this.name}: ssh or what it ran there ended with ${status}`, {
        fields: { host: this.name, status },
      });
    }
  }
}
