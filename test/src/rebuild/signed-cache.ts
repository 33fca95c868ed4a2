import { writeFile } from 'node:fs/promises';
import { runProgram } from '../oracle/program.js';
import type { Machine } from './machine.js';

export interface SignedCache {
  readonly directory: string;
  readonly publicKey: string;
  /** The system whose closure it has. */
  readonly system: string;
}

/** Has a machine build its system, and stock Nix make a signed cache of the closure. */
export async function publishSystem(machine: Machine): Promise<SignedCache> {
  const system = await machine.rebuild('build', '--no-out-link');
  const directory = machine.scratch.join('cache');
  const secret = machine.scratch.join('cache.secret');
  const { env } = machine;
  const nix = ['--extra-experimental-features', 'nix-command', '--store', machine.root];
  const key = await runProgram('nix', [...nix, 'key', 'generate-secret', '--key-name', 'test-1'], { env });
  await writeFile(secret, key);
  const publicKey = await runProgram('nix', [...nix, 'key', 'convert-secret-to-public'], { env, input: key });
  const to = `file://${directory}?secret-key=${secret}&compression=zstd`;
  await runProgram('nix', [...nix, 'copy', '--to', to, system], { env });
  return { directory, publicKey: publicKey.toString().trim(), system };
}

/** Settings for a machine that is to use it and nothing else. */
export function cacheSettings(url: string, publicKey: string): string[] {
  return ['--option', 'substituters', url, '--option', 'trusted-public-keys', publicKey];
}
