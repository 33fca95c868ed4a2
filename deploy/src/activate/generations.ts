import { writeBootMenu } from './boot-menu.js';
import { type BootMenuWish, readBootMenuWish } from './boot-spec.js';
import { makeDirectory, readLink, replaceLink } from './durable.js';
import type { MachineRoot } from './machine-root.js';
import { type Generation, type Profile, systemProfile } from './profile.js';

export interface GenerationOptions {
  readonly profileName?: string;
  /** `always` writes the menu even for a system that brings an installer of its own. */
  readonly bootMenu?: 'auto' | 'always' | 'never';
}

/**
 * Makes a system the current generation and the boot default; nothing is activated. The caller holds the profile's
 * lock.
 *
 * Crash invariants: the profile changes first, the boot menu after it. In between, the menu still has the old
 * default, whose generation is there: the machine boots the old configuration whole. The same call made again
 * completes what was cut off, since neither step does anything twice.
 */
export async function makeCurrent(
  root: MachineRoot,
  system: string,
  options: GenerationOptions = {},
): Promise<Generation> {
  await keepRunningSystem(root);
  const profile = systemProfile(root, options.profileName);
  const generation = await profile.add(system);
  await chooseGeneration(root, { profile, generation }, options);
  return generation;
}

/** Makes a generation that exists the current one and the boot default: a rollback. */
export async function chooseGeneration(
  root: MachineRoot,
  { profile, generation }: { readonly profile: Profile; readonly generation: Generation },
  options: GenerationOptions = {},
): Promise<void> {
  await profile.switchTo(generation);
  const wish = await menuWish(root, generation.target, options.bootMenu ?? 'auto');
  if (wish === undefined) return;
  await writeBootMenu(root, { wish, chosen: { profile: options.profileName ?? 'system', generation } });
}

/** Removes generations: first from the boot menu, so that it never offers one that is gone, then their links. */
export async function removeGenerations(
  root: MachineRoot,
  { profile, generations }: { readonly profile: Profile; readonly generations: readonly Generation[] },
  options: GenerationOptions = {},
): Promise<Generation[]> {
  const current = await profile.current();
  const going = generations.filter(({ number }) => number !== current?.number);
  const wish =
    current === undefined ? undefined : await menuWish(root, current.target, options.bootMenu ?? 'auto');
  if (current !== undefined && wish !== undefined) {
    const chosen = { profile: options.profileName ?? 'system', generation: current };
    await writeBootMenu(root, { wish, chosen, without: going });
  }
  return profile.remove(going);
}

async function menuWish(
  root: MachineRoot,
  system: string,
  mode: 'auto' | 'always' | 'never',
): Promise<BootMenuWish | undefined> {
  if (mode === 'never') return undefined;
  const wish = await readBootMenuWish(root, system);
  if (wish !== undefined) return wish;
  // Without a wish, a system that can be switched to brings its own installer, as NixOS does.
  const ownInstaller = (await root.tryResolve(`${system}/bin/switch-to-configuration`)) !== undefined;
  if (mode === 'auto' && ownInstaller) return undefined;
  if ((await root.tryResolve(`${system}/kernel`)) === undefined) return undefined;
  return { loaders: ['grub', 'systemd-boot'], timeout: 5 };
}

/** The running system is no garbage, whatever becomes of its generation. Named as NixOS names these roots. */
async function keepRunningSystem(root: MachineRoot): Promise<void> {
  const roots = root.physical('/nix/var/nix/gcroots');
  await makeDirectory(roots);
  for (const name of ['current-system', 'booted-system']) {
    if ((await readLink(`${roots}/${name}`)) === undefined)
      await replaceLink(`${roots}/${name}`, `/run/${name}`);
  }
}
