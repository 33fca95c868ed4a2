import { fileURLToPath } from 'node:url';
import { type ProgramOptions, type ProgramResult, tryProgram } from './program.js';

/** The executable as a user starts it. */
export const larderExecutable = fileURLToPath(new URL('../../../deploy/bin/larder.js', import.meta.url));

/** Runs `larder …` to its end, whatever its exit status; `env` is all of its environment. */
export function larder(args: readonly string[], options: ProgramOptions = {}): Promise<ProgramResult> {
  return tryProgram(process.execPath, [larderExecutable, ...args], options);
}
