import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { LarderError } from '@larder/signing/errors';
import { formatFlakeRef } from '../eval/flake-ref.js';
import type { FetchInput } from '../eval/host.js';

/** One entry of a flake registry. */
interface RegistryEntry {
  readonly from: FetchInput;
  readonly to: FetchInput;
  readonly exact?: boolean;
}

const globalRegistry = 'https://channels.nixos.org/flake-registry.json';

function readRegistry(text: string): readonly RegistryEntry[] {
  return (JSON.parse(text) as { flakes?: readonly RegistryEntry[] }).flakes ?? [];
}

async function globalEntries(): Promise<readonly RegistryEntry[]> {
  try {
    const response = await fetch(globalRegistry);
    return response.ok ? readRegistry(await response.text()) : [];
  } catch {
    // Without a network, the registries of this machine are all there is.
    return [];
  }
}

function find(entries: readonly RegistryEntry[], id: unknown): FetchInput | undefined {
  return entries.find((entry) => entry.from['type'] === 'indirect' && entry.from['id'] === id)?.to;
}

/**
 * What a name such as `nixpkgs` stands for, by the user's registry, the system's, and the global one.
 * Any other input is given back.
 * @throws LarderError `flake-unknown`
 */
export async function resolveIndirect(input: FetchInput): Promise<FetchInput> {
  if (input['type'] !== 'indirect') return input;
  const { type: _, id, ...rest } = input;
  for (const file of [`${homedir()}/.config/nix/registry.json`, '/etc/nix/registry.json']) {
    const to = existsSync(file) ? find(readRegistry(readFileSync(file, 'utf8')), id) : undefined;
    if (to !== undefined) return resolveIndirect({ ...to, ...rest });
  }
  const to = find(await globalEntries(), id);
  if (to !== undefined) return resolveIndirect({ ...to, ...rest });
  throw new LarderError(
    'flake-unknown',
    `cannot find flake '${formatFlakeRef(input)}' in the flake registries`,
  );
}
