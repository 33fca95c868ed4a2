import { lstatSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { LarderError } from '@larder/signing/errors';
import { makeDirectory, readLink, replaceLink, syncDirectory } from './durable.js';
import type { MachineRoot } from './machine-root.js';

/** One state that a profile was in. */
export interface Generation {
  readonly number: number;
  /** The link, as the machine sees it: `/nix/var/nix/profiles/system-3-link`. */
  readonly link: string;
  /** What it points to: a store path. */
  readonly target: string;
  /** When it was made. */
  readonly date: Date;
}

/** The directory of all profiles, in Nix's state directory. */
export const PROFILES = '/nix/var/nix/profiles';

/**
 * A profile in Nix's own layout: `<path>-<number>-link` for every generation, each a link to a store path and a root
 * of the garbage collector, and `<path>`, a link to the current one's name.
 *
 * Crash invariants:
 *  1. `<path>` is changed by one rename, and only to a generation whose link is on the disk: it always names a whole
 *     generation;
 *  2. a generation's number is never given to another store path while its link exists;
 *  3. the current generation is never removed.
 */
export class Profile {
  readonly path: string;
  readonly #root: MachineRoot;

  /** @param path as the machine sees it; its directory need not exist */
  constructor(path: string, root: MachineRoot) {
    this.path = path;
    this.#root = root;
  }

  /** All generations, the oldest first. */
  async list(): Promise<Generation[]> {
    const prefix = `${basename(this.path)}-`;
    const generations: Generation[] = [];
    for (const name of await this.#names()) {
      if (!name.startsWith(prefix)) continue;
      const number = /^([1-9]\d*)-link$/.exec(name.slice(prefix.length))?.[1];
      const link = `${dirname(this.path)}/${name}`;
      const found = number === undefined ? undefined : readDatedLink(this.#root.physical(link));
      if (found !== undefined) generations.push({ number: Number(number), link, ...found });
    }
    return generations.sort((a, b) => a.number - b.number);
  }

  /** The number of the current generation, from the profile's link alone. */
  async currentNumber(): Promise<number | undefined> {
    const name = await readLink(this.#root.physical(this.path));
    const number = name === undefined ? undefined : /-([1-9]\d*)-link$/.exec(name)?.[1];
    return number === undefined ? undefined : Number(number);
  }

  async current(): Promise<Generation | undefined> {
    const number = await this.currentNumber();
    return (await this.list()).find((generation) => generation.number === number);
  }

  /**
   * The generation that has this number.
   * @throws `generation-absent` listing those there are
   */
  async get(number: number): Promise<Generation> {
    const generations = await this.list();
    const found = generations.find((generation) => generation.number === number);
    if (found === undefined) {
      const numbers = generations.map((generation) => generation.number).join(', ');
      throw new LarderError(
        'generation-absent',
        `${this.#root.physical(this.path)} has no generation ${number}; it has ${numbers || 'none'}`,
      );
    }
    return found;
  }

  /**
   * The newest generation older than the current one.
   * @throws `generation-absent`
   */
  async previous(): Promise<Generation> {
    const current = await this.currentNumber();
    const older = (await this.list()).filter(({ number }) => current !== undefined && number < current);
    const found = older.at(-1);
    if (found === undefined) {
      throw new LarderError(
        'generation-absent',
        `${this.#root.physical(this.path)} has no generation before ${current ?? 'the first'} to go back to`,
      );
    }
    return found;
  }

  /**
   * A generation of the store path: the newest if it is that already, as in Nix, or else a new one.
   * It is not made the current one. The caller holds the profile's lock.
   */
  async add(target: string): Promise<Generation> {
    const generations = await this.list();
    const newest = generations.at(-1);
    if (newest?.target === target) return newest;
    const number = (newest?.number ?? 0) + 1;
    const link = `${this.path}-${number}-link`;
    await makeDirectory(dirname(this.#root.physical(this.path)));
    await replaceLink(this.#root.physical(link), target);
    return { number, link, target, date: new Date() };
  }

  /** Makes a generation the current one: invariant 1. */
  async switchTo(generation: Generation): Promise<void> {
    await replaceLink(this.#root.physical(this.path), basename(generation.link));
  }

  /** Removes generations, the current one excepted (invariant 3). Returns those removed. */
  async remove(generations: readonly Generation[]): Promise<Generation[]> {
    const current = await this.currentNumber();
    const removed = generations.filter(({ number }) => number !== current);
    for (const { link } of removed) rmSync(this.#root.physical(link), { force: true });
    if (removed.length > 0) await syncDirectory(dirname(this.#root.physical(this.path)));
    return removed;
  }

  async #names(): Promise<string[]> {
    try {
      return readdirSync(dirname(this.#root.physical(this.path)));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw error;
    }
  }
}

/** A link's target and when it was made; `undefined` for what is no link, or has just gone. */
function readDatedLink(path: string): { readonly target: string; readonly date: Date } | undefined {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats?.isSymbolicLink() !== true) return undefined;
  try {
    return { target: readlinkSync(path), date: stats.mtime };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** The profile of the system, or one of its siblings (`--profile-name`). */
export function systemProfile(root: MachineRoot, name = 'system'): Profile {
  if (name === 'system') return new Profile(`${PROFILES}/system`, root);
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(name)) {
    throw new LarderError(
      'profile-name-malformed',
      `'${name}' cannot name a profile: letters, digits, '.', '_' and '-'`,
    );
  }
  return new Profile(`${PROFILES}/system-profiles/${name}`, root);
}

/** All system profiles by name, `system` first. */
export async function listSystemProfiles(root: MachineRoot): Promise<Map<string, Profile>> {
  const profiles = new Map([['system', systemProfile(root)]]);
  let names: string[] = [];
  try {
    names = readdirSync(root.physical(`${PROFILES}/system-profiles`));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  for (const name of names.sort()) {
    if (/^\.|-\d+-link$|\.lock$/.test(name)) continue;
    profiles.set(name, systemProfile(root, name));
  }
  return profiles;
}
