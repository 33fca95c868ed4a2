import { closeSync, openSync, unlinkSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import type { Derivation } from '@larder/signing/derivation';
import { LarderError } from '@larder/signing/errors';
import type { BuildEnvironment } from '../derivation/build-environment.js';
import { formatBubblewrapArguments } from '../sandbox/bubblewrap.js';
import type { Mount } from '../sandbox/sandbox-tree.js';
import { seccompProgram } from '../sandbox/seccomp.js';
import type { BuilderCommand } from './builder-process.js';
import { launcherProgram, linux26, linux32, noAddressRandomization } from './launcher.js';

export interface StartOptions {
  readonly derivation: Derivation;
  readonly environment: BuildEnvironment;
  readonly user: { readonly uid: number; readonly gid: number } | undefined;
  /** A directory for files that only we read. */
  readonly scratch: string;
  readonly impersonateLinux26: boolean;
}

export interface SandboxedStartOptions extends StartOptions {
  readonly mounts: readonly Mount[];
  /** Where the build starts, as it sees it. */
  readonly directory: string;
  readonly network: boolean;
  readonly kvm: boolean;
  readonly shmSize: string;
  readonly filterSyscalls: boolean;
}

/** The first number that handed-over files have in the new process. */
const firstFile = 3;

/** The command line that runs a derivation's builder in a sandbox. */
export function sandboxedCommand(options: SandboxedStartOptions): BuilderCommand {
  const scratch = new ScratchFiles(options.scratch);
  try {
    const files: number[] = [];
    const pass = (fd: number) => firstFile + files.push(fd) - 1;
    const filter = options.filterSyscalls ? seccompProgram() : undefined;
    const seccompFd = filter === undefined ? undefined : pass(scratch.open('filter', filter));
    const launcher = launcherProgram(personality(options));
    const launcherFd = launcher === undefined ? undefined : pass(scratch.open('launcher', launcher));
    const args = formatBubblewrapArguments({
      ...options,
      variables: options.environment.variables,
      asRoot: options.user === undefined && process.geteuid?.() === 0,
      seccompFd,
    });
    const argsFd = pass(scratch.open('arguments', args));
    const builder = builderArguments(options);
    return {
      program: 'bwrap',
      args: [
        ...['--args', String(argsFd), '--'],
        ...(launcherFd === undefined
          ? [builder.program]
          : [`/proc/self/fd/${launcherFd}`, builder.program, builder.name]),
        ...builder.args,
      ],
      environment: {},
      files,
      user: options.user,
    };
  } catch (error) {
    scratch.close();
    throw error;
  }
}

/** The same without a sandbox: in the host's own file system, starting in `directory`. */
export function plainCommand(options: StartOptions & { readonly directory: string }): BuilderCommand {
  const scratch = new ScratchFiles(options.scratch);
  const environment = Object.fromEntries(
    [...options.environment.variables].map(([name, value]) => [text(name), text(value)]),
  );
  const builder = builderArguments(options);
  const { user, directory } = options;
  const launcher = launcherProgram(personality(options));
  if (launcher === undefined) {
    return { program: builder.program, args: builder.args, environment, directory, files: [], user };
  }
  const files = [scratch.open('launcher', launcher)];
  return {
    program: `/proc/self/fd/${firstFile}`,
    args: [builder.program, builder.name, ...builder.args],
    environment,
    directory,
    files,
    user,
  };
}

function builderArguments({ derivation, environment }: StartOptions) {
  const program = text(derivation.builder);
  return {
    // A name without a slash would be looked for in PATH; it means a file where the build starts.
    program: program.includes('/') ? program : `./${program}`,
    name: basename(program),
    args: environment.args.map(text),
  };
}

function personality({ derivation, impersonateLinux26 }: StartOptions): number {
  let bits = noAddressRandomization;
  if (['i686-linux', 'armv7l-linux', 'armv6l-linux'].includes(derivation.system)) bits |= linux32;
  if (impersonateLinux26 && ['i686-linux', 'x86_64-linux'].includes(derivation.system)) bits |= linux26;
  return bits;
}

/**
 * A byte string as the text that Node encodes back to the same bytes.
 * @throws `derivation-unsupported` where there is none
 */
function text(bytes: string): string {
  const buffer = Buffer.from(bytes, 'latin1');
  const decoded = buffer.toString('utf8');
  if (Buffer.from(decoded).equals(buffer)) return decoded;
  throw new LarderError(
    'derivation-unsupported',
    `the derivation passes its builder '${decoded}', which is not UTF-8: Larder can pass such bytes only in ` +
      'environment variables of sandboxed builds',
  );
}

/** Files whose only use is to be handed to a process already open: they lose their names at once. */
class ScratchFiles {
  readonly #directory: string;
  readonly #open: number[] = [];

  constructor(directory: string) {
    this.#directory = directory;
  }

  open(name: string, contents: Uint8Array): number {
    const path = `${this.#directory}/${name}-${process.hrtime.bigint()}`;
    writeFileSync(path, contents, { mode: 0o755, flag: 'wx' });
    const fd = openSync(path, 'r');
    unlinkSync(path);
    this.#open.push(fd);
    return fd;
  }

  close(): void {
    for (const fd of this.#open) closeSync(fd);
  }
}
