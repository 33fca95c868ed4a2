import { isBase32 } from './base32.js';
import { LarderError } from './errors.js';

declare const storePathBrand: unique symbol;

/**
 * A store path's base name, `<32 characters of Nix base-32>-<name>`: what narinfos list as references.
 * A string underneath, so it works as a key and sorts as Nix sorts. Made by {@link parseStorePath} only.
 */
export type StorePath = string & { readonly [storePathBrand]: true };

/** Characters of a store path's hash part: 20 bytes in Nix base-32. */
export const HASH_PART_LENGTH = 32;

const MAX_NAME_LENGTH = 211;
const NAME_CHARACTERS = /^[0-9a-zA-Z+\-._?=]+$/;

/** Why `name` cannot name a store object by Nix's rules, or `undefined` when it can. */
export function storeNameFault(name: string): string | undefined {
  if (name === '') return 'its name is empty';
  if (name.length > MAX_NAME_LENGTH) return `its name is longer than ${MAX_NAME_LENGTH} characters`;
  if (!NAME_CHARACTERS.test(name)) {
    return `its name has a character other than letters, digits and +-._?=`;
  }
  if (/^\.\.?(-|$)/.test(name)) return `its name is, or starts with, '.' or '..' before a dash`;
  return undefined;
}

/** Whether `name` can follow the hash part in a store path. */
export function isStoreName(name: string): boolean {
  return storeNameFault(name) === undefined;
}

/** Whether `text` has the form of a store path's hash part. */
export function isHashPart(text: string): boolean {
  return text.length === HASH_PART_LENGTH && isBase32(text);
}

/**
 * Checks a base name.
 * @throws `store-path-malformed` saying which rule it breaks.
 */
export function parseStorePath(baseName: string): StorePath {
  const fault = storePathFault(baseName);
  if (fault !== undefined) throw malformed(baseName, fault);
  return baseName as StorePath;
}

function storePathFault(baseName: string): string | undefined {
  if (!isHashPart(baseName.slice(0, HASH_PART_LENGTH))) {
    return `it does not start with ${HASH_PART_LENGTH} characters of Nix base-32`;
  }
  if (baseName[HASH_PART_LENGTH] !== '-') return 'no dash follows its hash part';
  return storeNameFault(baseName.slice(HASH_PART_LENGTH + 1));
}

/** The 32 characters that narinfos are found by. */
export function storePathHashPart(path: StorePath): string {
  return path.slice(0, HASH_PART_LENGTH);
}

/** What follows the hash part and its dash. */
export function storePathName(path: StorePath): string {
  return path.slice(HASH_PART_LENGTH + 1);
}

/** Whether the path is a store derivation (`….drv`). */
export function isDerivationPath(path: StorePath): boolean {
  return path.endsWith('.drv');
}

/**
 * A store directory as programs see it (`/nix/store`), wherever the files are: the part of every store path
 * that is hashed and signed along with it.
 */
export class StoreDir {
  readonly path: string;

  /** @throws `store-dir-malformed` unless `path` is absolute and canonical. */
  constructor(path: string) {
    const canonical = path.startsWith('/') && path !== '/' && !/\/(\.{0,2}(\/|$))/.test(path);
    // It stands in lines of nix-cache-info and narinfos.
    if (!canonical || /\p{Cc}/u.test(path)) {
      throw new LarderError(
        'store-dir-malformed',
        `'${path}' is not a store directory: give an absolute path without '.', '..', doubled or final slashes and ` +
          'control characters',
      );
    }
    this.path = path;
  }

  /** The full path, as fingerprints and narinfos carry it. */
  format(path: StorePath): string {
    return `${this.path}/${path}`;
  }

  /**
   * Parses a full path that names a store object itself.
   * @throws `store-path-malformed` when it lies elsewhere or deeper, or breaks a name rule.
   */
  parse(full: string): StorePath {
    const { storePath, rest } = this.parseWithin(full);
    if (rest !== '') throw malformed(full, 'it points inside a store object; give the object itself');
    return storePath;
  }

  /** Parses a full path that names a store object or a file in one; `rest` is `''` or starts with `/`. */
  parseWithin(full: string): { readonly storePath: StorePath; readonly rest: string } {
    if (!full.startsWith(`${this.path}/`)) throw malformed(full, `it is not in ${this.path}`);
    const inner = full.slice(this.path.length + 1);
    const slash = inner.indexOf('/');
    const baseName = slash < 0 ? inner : inner.slice(0, slash);
    const fault = storePathFault(baseName);
    if (fault !== undefined) throw malformed(full, fault);
    return { storePath: baseName as StorePath, rest: slash < 0 ? '' : inner.slice(slash) };
  }

  /** Whether `full` names a store object of this directory. */
  contains(full: string): boolean {
    return full.startsWith(`${this.path}/`) && storePathFault(full.slice(this.path.length + 1)) === undefined;
  }
}

/** The store directory of nearly every Nix installation. */
export const DEFAULT_STORE_DIR = '/nix/store';

function malformed(text: string, why: string): LarderError {
  return new LarderError('store-path-malformed', `'${text}' is not a store path: ${why}`, {
    fields: { path: text },
  });
}
