import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { LarderError } from '@larder/signing/errors';
import type { DaemonChannel, DaemonTransport } from './daemon-channel.js';
import { formatSshTarget, quoteForShell, type SshTarget, splitWords, sshCommand } from './ssh-target.js';

export interface SshTransportOptions {
  /** What serves the protocol on its standard streams there, given `--stdio`; `nix-daemon` by default. */
  readonly program?: string;
  /** The store it is to serve, a URI as seen from there. */
  readonly remoteStore?: string;
  /** Called with what ssh and the program say on standard error, a line at a time. */
  readonly onLog?: (line: string) => void;
}

/** What a shell ends with when it does not find a program. */
const PROGRAM_ABSENT = 127;
/** Of standard error, this much is kept for a message. */
const MAX_COMPLAINT = 4096;

/** The daemon of another machine, which ssh starts there for each connection: `ssh-ng://HOST`. */
export class SshTransport implements DaemonTransport {
  readonly #target: SshTarget;
  readonly #options: SshTransportOptions;

  constructor(target: SshTarget, options: SshTransportOptions = {}) {
    this.#target = target;
    this.#options = options;
  }

  async open(): Promise<DaemonChannel> {
    const { program: remoteProgram = 'nix-daemon', remoteStore = '' } = this.#options;
    const words = [...splitWords(remoteProgram), '--stdio'];
    if (remoteStore !== '') words.push('--store', remoteStore);
    const [program, ...args] = sshCommand(this.#target, words.map(quoteForShell));
    const child = spawn(program!, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    // Errors surface where the streams are read or written, and in `explain`.
    for (const emitter of [child, child.stdin, child.stdout, child.stderr]) emitter.on('error', () => {});
    return new SshChannel(child, formatSshTarget(this.#target), this.#options.onLog);
  }
}

class SshChannel implements DaemonChannel {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #host: string;
  readonly #ended: Promise<unknown>;
  #complaint = '';

  constructor(child: ChildProcessWithoutNullStreams, host: string, onLog?: (line: string) => void) {
    this.#child = child;
    this.#host = host;
    this.#ended = once(child, 'close').catch(() => undefined);
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#complaint = (this.#complaint + text).slice(-MAX_COMPLAINT);
      for (const line of text.trimEnd().split('\n')) onLog?.(line);
    });
  }

  get input(): AsyncIterable<Uint8Array> {
    return this.#child.stdout as AsyncIterable<Buffer>;
  }

  get output() {
    return this.#child.stdin;
  }

  async explain(error: LarderError): Promise<LarderError> {
    this.#child.stdin.destroy();
    await this.#ended;
    const status = this.#child.exitCode ?? this.#child.signalCode;
    const complaint = this.#complaint.trim();
    const said = complaint === '' ? `ssh ended with ${status ?? 'an error'}` : complaint;
    const fields = { host: this.#host, status, said };
    if (status === PROGRAM_ABSENT) {
      return new LarderError(
        'daemon-program-absent',
        `${this.#host} has no program that serves its store: install Nix there, or name one with ` +
          `?remote-program=… (${said})`,
        { cause: error, fields },
      );
    }
    return new LarderError(
      'daemon-unreachable',
      `the store of ${this.#host} is not reached by ssh: ${said}`,
      {
        cause: error,
        fields,
      },
    );
  }

  close(): void {
    this.#child.stdin.destroy();
    this.#child.stdout.destroy();
    this.#child.kill();
  }
}
