import { fileURLToPath } from 'node:url';
import type { Nix } from '../oracle/nix.js';
import { type ProgramResult, tryProgram } from '../oracle/program.js';

/** The executable in this workspace. */
export const larderExecutable = fileURLToPath(new URL('../../../deploy/bin/larder.js', import.meta.url));

/** Runs `larder build` on a store of stock Nix. */
export function buildWithLarder(
  store: Nix,
  args: readonly string[],
  settings: Readonly<Record<string, string>> = {},
  environment: Readonly<Record<string, string>> = {},
): Promise<ProgramResult> {
  const options = Object.entries(settings).flatMap(([key, value]) => ['--option', `${key}=${value}`]);
  const target = store.root === undefined ? 'local' : `local?root=${store.root}`;
  return tryProgram(
    process.execPath,
    [
      larderExecutable,
      'build',
      '--no-out-link',
      '--log-format',
      'plain',
      '--store',
      target,
      ...options,
      ...args,
    ],
    { env: { ...store.environment, ...environment } },
  );
}
