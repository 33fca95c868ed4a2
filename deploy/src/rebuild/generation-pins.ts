import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { basename } from 'node:path';
import { hasCode, LarderError } from '@larder/signing/errors';
import { mapConcurrently } from '@larder/substituter/concurrency';
import type { MachineRoot } from '../activate/machine-root.js';
import { listSystemProfiles } from '../activate/profile.js';

/** One store path that a machine wants a cache to keep, and the pin that does it. */
export interface GenerationPin {
  readonly name: string;
  /** Full. */
  readonly path: string;
}

/** The pins of a cache. Paths are full. */
export interface PinRegister {
  /** What each pin stands for now, by its name. */
  list(): Promise<ReadonlyMap<string, readonly string[]>>;
  /** @throws `pin-path-missing` where the cache does not have the path */
  set(pin: GenerationPin): Promise<void>;
  remove(name: string): Promise<void>;
}

export interface PinOutcome {
  /** How many stand, old and new. */
  readonly standing: number;
  readonly made: readonly GenerationPin[];
  readonly removed: readonly string[];
  /** What could not be pinned, because the cache lacks it. */
  readonly missing: readonly GenerationPin[];
  /** What else failed. */
  readonly failures: readonly string[];
}

/** Pins set or removed at a time. */
const atOnce = 4;

/** Between a machine's name and the rest of its pins' names: host names have none. */
const separator = '+';

/**
 * The name of a machine for its pins: the one given, else its host name.
 * @throws `pin-name-malformed`
 */
export async function machineName(root: MachineRoot, given: string | undefined): Promise<string> {
  const name = given ?? (root.isMachine ? hostname() : await hostNameOf(root));
  if (/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(name)) return name;
  throw new LarderError(
    'pin-name-malformed',
    `'${name}' cannot name a machine's pins: give --pin-name, of letters, digits, '.', '_' and '-'`,
  );
}

async function hostNameOf(root: MachineRoot): Promise<string> {
  const file = await root.tryResolve('/etc/hostname');
  return file === undefined ? '' : readFileSync(root.physical(file), 'utf8').trim();
}

/**
 * Everything the machine could have to fetch again: each generation of each system profile, as the boot menu offers
 * them, and what it was booted from and runs, should that be no generation any more. Named as the links are:
 * `web1+system-12`, `web1+booted-system`.
 */
export async function listGenerationPins(root: MachineRoot, machine: string): Promise<GenerationPin[]> {
  const pins: GenerationPin[] = [];
  for (const profile of (await listSystemProfiles(root)).values()) {
    for (const { link, target } of await profile.list())
      pins.push({ name: `${machine}${separator}${basename(link).replace(/-link$/, '')}`, path: target });
  }
  const paths = new Set(pins.map(({ path }) => path));
  for (const name of ['booted-system', 'current-system']) {
    const path = await root.tryResolve(`/run/${name}`);
    if (path !== undefined && !paths.has(path)) pins.push({ name: `${machine}${separator}${name}`, path });
  }
  return pins;
}

/**
 * Makes the register have just these pins of the machine. New ones come before old ones go, so there is no moment at
 * which a collection finds less than the machine can boot.
 */
export async function updatePins(
  register: PinRegister,
  machine: string,
  wanted: readonly GenerationPin[],
): Promise<PinOutcome> {
  const there = await register.list();
  const stands = ({ name, path }: GenerationPin): boolean => {
    const paths = there.get(name);
    return paths?.length === 1 && paths[0] === path;
  };
  const [made, missing, failures]: [GenerationPin[], GenerationPin[], string[]] = [[], [], []];
  const lacking = wanted.filter((pin) => !stands(pin));
  const stood = wanted.length - lacking.length;
  await mapConcurrently(lacking, atOnce, async (pin) => {
    try {
      await register.set(pin);
      made.push(pin);
    } catch (error) {
      if (hasCode(error, 'pin-path-missing')) missing.push(pin);
      else failures.push(`${pin.path} (${pin.name}): ${reason(error)}`);
    }
  });
  const names = new Set(wanted.map(({ name }) => name));
  const old = [...there.keys()].filter((name) => name.startsWith(machine + separator) && !names.has(name));
  const removed: string[] = [];
  await mapConcurrently(old, atOnce, async (name) => {
    try {
      await register.remove(name);
      removed.push(name);
    } catch (error) {
      failures.push(`the old pin ${name} stays: ${reason(error)}`);
    }
  });
  return { standing: stood + made.length, made, removed, missing, failures };
}

function reason(error: unknown): string {
  // Of ours and of Node's alike: fetch keeps what happened in the cause.
  const { cause, message } = error as Error;
  return error instanceof LarderError || !(cause instanceof Error) ? message : `${message}: ${cause.message}`;
}
