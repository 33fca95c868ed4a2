import { spawn } from 'node:child_process';
import { childEnvironment } from '../config.js';
import type { MachineRoot } from './machine-root.js';
import type { Profile } from './profile.js';

/**
 * Runs a program of the user's after a switch, with the store paths this machine must be able to fetch again as
 * arguments: the current system first, then the one a rollback goes to. A program that pins them in a cache keeps
 * them from that cache's garbage collection.
 *
 * The switch is done by then: a hook that fails is reported and changes nothing.
 * @returns what went wrong, or `undefined`
 */
export async function runSwitchHook(
  program: string,
  { root, profile }: { readonly root: MachineRoot; readonly profile: Profile },
): Promise<string | undefined> {
  const current = await profile.currentNumber();
  const generations = (await profile.list()).filter(({ number }) => number <= (current ?? 0)).slice(-2);
  const paths = [...new Set(generations.reverse().map(({ target }) => target))];
  const child = spawn(program, paths, {
    stdio: ['ignore', process.stderr, process.stderr],
    env: childEnvironment({ LARDER_ROOT: root.directory }),
  });
  return new Promise((resolve) => {
    child.once('error', (error) => resolve(`the hook ${program} did not start: ${error.message}`));
    child.once('exit', (code, signal) =>
      resolve(code === 0 ? undefined : `the hook ${program} ended with ${signal ?? `status ${code}`}`),
    );
  });
}
