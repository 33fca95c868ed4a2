import { readdirSync, rmSync, statSync } from 'node:fs';
import { copyFile, open, rename, rm } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { LarderError } from '@larder/signing/errors';
import { type BootEntry, type BootMenu, formatDate } from './boot-entry.js';
import { type BootMenuWish, type BootSpec, readBootSpec } from './boot-spec.js';
import { isTemporaryName, makeDirectory, replaceFile, syncDirectory } from './durable.js';
import { formatGrubMenu } from './grub-menu.js';
import type { MachineRoot } from './machine-root.js';
import { type Generation, listSystemProfiles } from './profile.js';
import { entryName, formatLoaderConf, formatLoaderEntry, isOwnEntryName } from './systemd-boot-menu.js';

export interface BootMenuOptions {
  readonly wish: BootMenuWish;
  /** What boots unless somebody chooses otherwise. */
  readonly chosen: { readonly profile: string; readonly generation: Generation };
  /** Generations that are about to go and must not be offered any more. */
  readonly without?: readonly Generation[];
}

/**
 * Writes the boot menu: all generations of all system profiles, the newest first.
 *
 * Crash invariants, whatever moment the power fails at:
 *  1. an entry names only files that are on the disk whole: kernels and initrds are copied first, under names that
 *     say which store path they are from, and never changed;
 *  2. each file of the menu changes by one rename; with systemd-boot, the default changes after its entry is there;
 *  3. kernels go only after no menu names them.
 * So the old menu or the new one is there, and each of its entries boots a generation whole.
 */
export async function writeBootMenu(root: MachineRoot, options: BootMenuOptions): Promise<BootMenu> {
  const kernels = new KernelDirectory(root, await bootPrefix(root));
  await makeDirectory(root.physical('/boot/kernels'));
  const entries = await collectEntries(root, kernels, options.without ?? []);
  const defaultId = entryId(options.chosen.profile, options.chosen.generation.number);
  if (!entries.some(({ id }) => id === defaultId)) {
    throw new LarderError('system-unbootable', `${options.chosen.generation.target} has no kernel to boot`);
  }
  const menu: BootMenu = { entries, defaultId, wish: options.wish };
  await kernels.flush();
  if (options.wish.loaders.includes('grub')) {
    await makeDirectory(root.physical('/boot/grub'));
    await replaceFile(root.physical('/boot/grub/grub.cfg'), formatGrubMenu(menu));
  }
  if (options.wish.loaders.includes('systemd-boot')) await writeLoaderEntries(root, menu);
  await kernels.removeUnused();
  return menu;
}

function entryId(profile: string, generation: number): string {
  return `${profile}-${generation}`;
}

async function collectEntries(
  root: MachineRoot,
  kernels: KernelDirectory,
  without: readonly Generation[],
): Promise<BootEntry[]> {
  const gone = new Set(without.map(({ link }) => link));
  const entries: BootEntry[] = [];
  for (const [profile, links] of await listSystemProfiles(root)) {
    for (const generation of (await links.list()).reverse()) {
      if (gone.has(generation.link)) continue;
      const spec = await readSpecOf(root, generation);
      if (spec !== undefined) entries.push(...(await entriesOf(kernels, { profile, generation, spec })));
    }
  }
  return entries;
}

/** One broken old generation must not keep a new one from being offered: it is left out. */
async function readSpecOf(root: MachineRoot, { target }: Generation): Promise<BootSpec | undefined> {
  try {
    return await readBootSpec(root, target);
  } catch (error) {
    if (error instanceof LarderError) return undefined;
    throw error;
  }
}

interface GenerationSpec {
  readonly profile: string;
  readonly generation: Generation;
  readonly spec: BootSpec;
}

async function entriesOf(
  kernels: KernelDirectory,
  { profile, generation, spec }: GenerationSpec,
): Promise<BootEntry[]> {
  const { number, date } = generation;
  const make = async (each: BootSpec, specialisation?: string): Promise<BootEntry> => ({
    id: entryId(profile, number) + (specialisation === undefined ? '' : `-${specialisation}`),
    title: `${each.label} (generation ${number}${specialisation === undefined ? '' : `, ${specialisation}`}, ${formatDate(date)})`,
    profile,
    generation: number,
    date,
    kernel: await kernels.place(each.kernel),
    initrd: each.initrd === undefined ? undefined : await kernels.place(each.initrd),
    parameters: [`init=${each.init}`, ...each.kernelParams],
  });
  const entries = [await make(spec)];
  for (const [name, inner] of spec.specialisations) entries.push(await make(inner, name));
  return entries;
}

async function writeLoaderEntries(root: MachineRoot, menu: BootMenu): Promise<void> {
  const directory = root.physical('/boot/loader/entries');
  await makeDirectory(directory);
  for (const entry of menu.entries)
    await replaceFile(`${directory}/${entryName(entry)}`, formatLoaderEntry(entry));
  await replaceFile(root.physical('/boot/loader/loader.conf'), formatLoaderConf(menu));
  const kept = new Set(menu.entries.map(entryName));
  for (const name of readdirSync(directory)) {
    if (isTemporaryName(name) || (isOwnEntryName(name) && !kept.has(name)))
      rmSync(`${directory}/${name}`, { force: true });
  }
  await syncDirectory(directory);
}

/** What the boot loader puts before a path in `/boot`: nothing when that is a file system of its own. */
async function bootPrefix(root: MachineRoot): Promise<string> {
  await makeDirectory(root.physical('/boot'));
  const [boot, above] = [statSync(root.physical('/boot')), statSync(root.physical('/'))];
  return boot.dev === above.dev ? '/boot' : '';
}

/** `/boot/kernels`: copies, because a boot loader may be unable to read what the store is on. */
class KernelDirectory {
  readonly #root: MachineRoot;
  readonly #prefix: string;
  readonly #used = new Set<string>();

  constructor(root: MachineRoot, prefix: string) {
    this.#root = root;
    this.#prefix = prefix;
  }

  /** Copies a file of the store, unless it is there already; gives its path as the boot loader sees it. */
  async place(file: string): Promise<string> {
    // /nix/store/<hash>-linux/vmlinuz -> <hash>-linux-vmlinuz: the store path fixes the contents.
    const name = file.replace(/^\/.*?\/(?=[0-9a-z]{32}-)/, '').replaceAll('/', '-');
    const path = this.#root.physical(`/boot/kernels/${name}`);
    if (!this.#used.has(name)) {
      this.#used.add(name);
      const { size } = statSync(this.#root.physical(file));
      if (statSync(path, { throwIfNoEntry: false })?.size !== size)
        await copyWhole(this.#root.physical(file), path);
    }
    return `${this.#prefix}/kernels/${name}`;
  }

  async flush(): Promise<void> {
    await syncDirectory(this.#root.physical('/boot/kernels'));
  }

  async removeUnused(): Promise<void> {
    const directory = this.#root.physical('/boot/kernels');
    for (const name of readdirSync(directory)) {
      if (!this.#used.has(name)) rmSync(`${directory}/${name}`, { force: true });
    }
  }
}

async function copyWhole(from: string, to: string): Promise<void> {
  const temporary = `${dirname(to)}/.larder-tmp-000000000000-${basename(to)}`;
  await rm(temporary, { force: true });
  await copyFile(from, temporary);
  const file = await open(temporary, 'r');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, to);
}
