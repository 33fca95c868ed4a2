import { spawn } from 'node:child_process';
import { mkdir, readdir } from 'node:fs/promises';
import { LarderError } from '@larder/signing/errors';
import { childEnvironment } from '../config.js';
import type { MachineRoot } from './machine-root.js';

/** What `switch-to-configuration` is asked for. */
export type SwitchAction = 'switch' | 'boot' | 'test' | 'dry-activate';

export interface SwitchOptions {
  /** Asks the system's own installer to install the boot loader too, as `nixos-rebuild --install-bootloader` does. */
  readonly installBootLoader?: boolean;
  readonly signal?: AbortSignal;
}

/**
 * Runs a system's `bin/switch-to-configuration`, inside the root when that is not the machine's own. Output goes to
 * standard error. A system without the program is left as it is, and `false` returned.
 * @throws `activation-failed` with the exit status, `activation-unsupported`
 */
export async function runSwitch(
  root: MachineRoot,
  request: { readonly system: string; readonly action: SwitchAction },
  options: SwitchOptions = {},
): Promise<boolean> {
  const program = `${request.system}/bin/switch-to-configuration`;
  if ((await root.tryResolve(program)) === undefined) return false;
  const command = root.isMachine ? [program, request.action] : await enter(root, [program, request.action]);
  const status = await run(command, options);
  if (status !== 0) {
    throw new LarderError(
      'activation-failed',
      `${program} ${request.action} ended with status ${status}; the profile is as switched: 'larder rebuild rollback' goes back`,
      { fields: { status, system: request.system } },
    );
  }
  return true;
}

/**
 * What is activated of a system: itself, or one of its specialisations.
 * @throws `specialisation-absent` naming those it has
 */
export async function chooseVariant(
  root: MachineRoot,
  system: string,
  specialisation: string | undefined,
): Promise<string> {
  if (specialisation === undefined) return system;
  const variants = await root.tryResolve(`${system}/specialisation`);
  const names = variants === undefined ? [] : (await readdir(root.physical(variants))).sort();
  if (names.includes(specialisation)) return `${system}/specialisation/${specialisation}`;
  throw new LarderError(
    'specialisation-absent',
    `${system} has no specialisation '${specialisation}'; it has ${names.join(', ') || 'none'}`,
  );
}

/** The command line that runs `command` with the root as its `/`. */
export async function enter(root: MachineRoot, command: readonly string[]): Promise<string[]> {
  if (process.getuid?.() !== 0) {
    throw new LarderError(
      'activation-unsupported',
      `only root can activate a system in ${root.directory}; 'larder rebuild build' needs no such rights`,
    );
  }
  for (const each of ['/dev', '/proc']) await mkdir(root.physical(each), { recursive: true });
  const binds = ['--bind', root.directory, '/', '--dev-bind', '/dev', '/dev', '--bind', '/proc', '/proc'];
  return ['bwrap', ...binds, '--chdir', '/', '--', ...command];
}

async function run([program, ...args]: readonly string[], options: SwitchOptions): Promise<number> {
  const child = spawn(program!, args, {
    // What the system prints is for whoever watches: standard output carries results only.
    stdio: ['ignore', process.stderr, process.stderr],
    env: childEnvironment({ NIXOS_INSTALL_BOOTLOADER: options.installBootLoader ? '1' : '0' }),
    signal: options.signal,
  });
  return new Promise((resolve, reject) => {
    child.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') reject(error);
      else reject(new LarderError('program-absent', `${program} is not installed`, { cause: error }));
    });
    child.once('exit', (code, signal) => resolve(code ?? (signal === null ? 1 : 128)));
  });
}
