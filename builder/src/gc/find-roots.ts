import {
  closeSync,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { StorePath } from '@larder/signing/store-path';
import { tryLock } from '@larder/substituter/local-store/file-lock';
import type { StoreLayout } from '@larder/substituter/local-store/layout';

/** What keeps paths from being collected: each with the places that say so. */
export type Roots = Map<StorePath, Set<string>>;

/**
 * Finds the roots that are links: in `gcroots` and in `profiles`, and those that other links are. Links in
 * `gcroots/auto` to what is no more are removed. Reference: `LocalStore::findRoots` in Nix.
 */
export function findLinkedRoots(layout: StoreLayout): Roots {
  const finder = new LinkFinder(layout);
  finder.visit(`${layout.stateDir}/gcroots`);
  finder.visit(`${layout.stateDir}/profiles`);
  return finder.roots;
}

class LinkFinder {
  readonly roots: Roots = new Map();
  readonly #layout: StoreLayout;

  constructor(layout: StoreLayout) {
    this.#layout = layout;
  }

  visit(path: string): void {
    const status = tolerant(() => lstatSync(path));
    if (status === undefined) return;
    if (status.isDirectory()) {
      for (const name of tolerant(() => readdirSync(path)) ?? []) this.visit(`${path}/${name}`);
    } else if (status.isSymbolicLink()) this.#visitLink(path);
    else if (status.isFile()) {
      // A file that is named like a path roots that one.
      const full = `${this.#layout.storeDir.path}/${path.slice(path.lastIndexOf('/') + 1)}`;
      if (this.#layout.storeDir.contains(full)) addRoot(this.roots, this.#layout.storeDir.parse(full), path);
    }
  }

  #visitLink(path: string): void {
    const target = tolerant(() => readlinkSync(path));
    if (target === undefined) return;
    if (this.#addTarget(path, target)) return;
    const indirect = resolve(dirname(path), target);
    const status = tolerant(() => lstatSync(indirect));
    if (status?.isSymbolicLink()) {
      const final = tolerant(() => readlinkSync(indirect));
      if (final !== undefined) this.#addTarget(indirect, final);
    } else if (status === undefined && path.startsWith(`${this.#layout.stateDir}/gcroots/auto/`)) {
      tolerant(() => unlinkSync(path));
    }
  }

  #addTarget(path: string, target: string): boolean {
    const found = parseInStore(this.#layout, target);
    if (found !== undefined) addRoot(this.roots, found, path);
    return target.startsWith(`${this.#layout.storeDir.path}/`);
  }
}

/** Paths that living processes said they use. The files of those that are gone are removed. */
export function findTemporaryRoots(layout: StoreLayout): Roots {
  const roots: Roots = new Map();
  const directory = `${layout.stateDir}/temproots`;
  for (const name of tolerant(() => readdirSync(directory)) ?? []) {
    if (name.startsWith('.')) continue;
    const file = `${directory}/${name}`;
    const fd = tolerant(() => openSync(file, 'r+'));
    if (fd === undefined) continue;
    try {
      if (tryLock(fd, 'exclusive')) {
        // Its owner is gone. The byte tells whoever is about to use the file that it has no name any more.
        unlinkSync(file);
        writeSync(fd, 'd');
        continue;
      }
      for (const full of readFileSync(file, 'utf8').split('\0')) {
        if (layout.storeDir.contains(full)) addRoot(roots, layout.storeDir.parse(full), `{temp:${name}}`);
      }
    } finally {
      closeSync(fd);
    }
  }
  return roots;
}

/** Paths that running processes have open, mapped, as their directory or in their environment. */
export function findRuntimeRoots(layout: StoreLayout): Roots {
  const roots: Roots = new Map();
  const prefix = layout.storeDir.path.replace(/[.^$\\*+?()[\]{}|]/g, '\\$&');
  const mentioned = new RegExp(`${prefix}/[0-9a-z]+[0-9a-zA-Z+\\-._?=]*`, 'g');
  const add = (target: string | undefined, place: string) => {
    const path = target === undefined ? undefined : parseInStore(layout, target);
    if (path !== undefined) addRoot(roots, path, place);
  };
  for (const id of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    for (const name of ['exe', 'cwd'])
      add(
        tolerant(() => readlinkSync(`/proc/${id}/${name}`)),
        `/proc/${id}/${name}`,
      );
    for (const fd of tolerant(() => readdirSync(`/proc/${id}/fd`)) ?? []) {
      add(
        tolerant(() => readlinkSync(`/proc/${id}/fd/${fd}`)),
        `/proc/${id}/fd/${fd}`,
      );
    }
    for (const name of ['maps', 'environ']) {
      const text = tolerant(() => readFileSync(`/proc/${id}/${name}`, 'latin1')) ?? '';
      for (const [full] of text.matchAll(mentioned)) add(full, `/proc/${id}/${name}`);
    }
  }
  return roots;
}

function parseInStore(layout: StoreLayout, target: string): StorePath | undefined {
  if (!target.startsWith(`${layout.storeDir.path}/`)) return undefined;
  const end = target.indexOf('/', layout.storeDir.path.length + 1);
  const full = end < 0 ? target : target.slice(0, end);
  return layout.storeDir.contains(full) ? layout.storeDir.parse(full) : undefined;
}

export function addRoot(roots: Roots, path: StorePath, place: string): void {
  const places = roots.get(path);
  if (places === undefined) roots.set(path, new Set([place]));
  else places.add(place);
}

/** Files and processes come and go while one looks; what may not be read roots nothing. */
function tolerant<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    if (['ENOENT', 'EACCES', 'ENOTDIR', 'ESRCH', 'EPERM', 'EINVAL'].includes(code)) return undefined;
    throw error;
  }
}
