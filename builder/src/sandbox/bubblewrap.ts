import { totalmem } from 'node:os';
import { dirname } from 'node:path';
import { LarderError } from '@larder/signing/errors';
import type { Mount } from './sandbox-tree.js';

/** Who a builder is inside: the same everywhere. */
export const sandboxUid = 1000;
export const sandboxGid = 100;

export interface SandboxCommand {
  /** Byte strings. */
  readonly variables: ReadonlyMap<string, string>;
  readonly mounts: readonly Mount[];
  /** Where it starts. */
  readonly directory: string;
  readonly network: boolean;
  /** The build runs under the number of the host's root: the kernel's own files would be its to change. */
  readonly asRoot: boolean;
  readonly kvm: boolean;
  /** `sandbox-dev-shm-size`: bytes, with a unit, or a share of the memory. */
  readonly shmSize: string;
  /** The number of the open file that holds the system call filter. */
  readonly seccompFd: number | undefined;
}

/** What root may write without any capability. */
const kernelFiles = [
  '/proc/sys',
  '/proc/sysrq-trigger',
  '/proc/irq',
  '/proc/bus',
  '/proc/fs',
  '/proc/acpi',
  '/proc/scsi',
];

/** As many as bubblewrap takes. */
const mostArguments = 9000;

/**
 * The arguments of bubblewrap, in the form that its `--args` reads: each ended by a NUL. They include the whole
 * environment: given to bubblewrap itself, a build's `LD_PRELOAD` would run outside of the sandbox.
 * @throws `sandbox-too-large`
 */
export function formatBubblewrapArguments(sandbox: SandboxCommand): Buffer {
  const args = [
    ...['--unshare-user', '--unshare-pid', '--unshare-ipc', '--unshare-uts'],
    ...(sandbox.network ? [] : ['--unshare-net']),
    ...['--uid', String(sandboxUid), '--gid', String(sandboxGid), '--hostname', 'localhost'],
    // The build ends with us, and is the first process of its world as under Nix.
    ...['--die-with-parent', '--as-pid-1', '--new-session'],
    ...['--proc', '/proc', '--dev', '/dev'],
    ...(sandbox.asRoot ? kernelFiles.flatMap((path) => ['--ro-bind-try', path, path]) : []),
    ...['--perms', '1777', '--size', String(parseSize(sandbox.shmSize)), '--tmpfs', '/dev/shm'],
    ...(sandbox.kvm ? ['--dev-bind-try', '/dev/kvm', '/dev/kvm'] : []),
    ...formatPlaces(sandbox.mounts),
    ...['--remount-ro', '/', '--chdir', sandbox.directory, '--clearenv'],
    ...[...sandbox.variables].flatMap(([name, value]) => ['--setenv', name, value]),
    ...(sandbox.seccompFd === undefined ? [] : ['--seccomp', String(sandbox.seccompFd)]),
  ];
  if (args.length > mostArguments) {
    throw new LarderError(
      'sandbox-too-large',
      `the build has ${sandbox.mounts.length} inputs and ${sandbox.variables.size} variables, which is more than ` +
        'a sandbox by bubblewrap can be told of',
    );
  }
  return Buffer.from(args.map((arg) => `${arg}\0`).join(''), 'latin1');
}

/** What is higher up comes first, and so do the directories that lead to it: those that bubblewrap makes are private. */
function formatPlaces(mounts: readonly Mount[]): string[] {
  const places = new Map<string, string[]>();
  for (const mount of mounts) {
    for (let at = dirname(mount.target); at !== '/'; at = dirname(at)) {
      if (!places.has(at)) places.set(at, ['--perms', '0755', '--dir', bytes(at)]);
    }
  }
  for (const mount of mounts) places.set(mount.target, formatMount(mount));
  const depth = (target: string) => target.split('/').length;
  return [...places].sort(([a], [b]) => depth(a) - depth(b)).flatMap(([, args]) => args);
}

function formatMount({ source, target, writable, mayMiss }: Mount): string[] {
  return [`--${writable ? '' : 'ro-'}bind${mayMiss ? '-try' : ''}`, bytes(source), bytes(target)];
}

/** Bytes, as the kernel reads a size: a number with `k`, `m`, `g` or `%` of the memory. */
function parseSize(text: string): number {
  const match = /^(\d+)([kmg%]?)$/i.exec(text);
  if (match === null) {
    throw new LarderError(
      'config-invalid',
      `sandbox-dev-shm-size must be a size such as 50% or 2G, not '${text}'`,
    );
  }
  const number = Number(match[1]);
  const unit = match[2]!.toLowerCase();
  if (unit === '%') return Math.floor((totalmem() * number) / 100);
  return number * (unit === '' ? 1 : 1024 ** ' kmg'.indexOf(unit));
}

function bytes(path: string): string {
  return Buffer.from(path).toString('latin1');
}
