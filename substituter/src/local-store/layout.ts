import { accessSync, constants } from 'node:fs';
import { StoreDir, type StorePath } from '@larder/signing/store-path';
import type { Settings } from '../settings/settings.js';
import type { StoreParameters } from '../store-uri.js';

/** Where a local store keeps what; the names below these are Nix's own. */
export interface StoreLayout {
  /** The store directory that programs see and that hashes cover. */
  readonly storeDir: StoreDir;
  /** The directory that physically holds the paths. */
  readonly realStoreDir: string;
  readonly stateDir: string;
  readonly logDir: string;
}

/**
 * The layout of `local?root=DIR&state=DIR&real=DIR&log=DIR`. With a root, the directories are fixed names
 * below it whatever the store directory is called, as in Nix; without, the machine's own.
 */
export function findStoreLayout(settings: Settings, parameters: StoreParameters): StoreLayout {
  const { storeDir, stateDir, logDir } = settings.directories;
  const logical = parameters.get('store') ?? storeDir.value;
  const root = withoutTrailingSlashes(parameters.get('root') ?? '');
  const under = (path: string, own: string) => (root === '' ? own : `${root}${path}`);
  return {
    storeDir: new StoreDir(logical),
    realStoreDir: parameters.get('real') ?? under('/nix/store', logical),
    stateDir: parameters.get('state') ?? under('/nix/var/nix', stateDir.value),
    logDir: parameters.get('log') ?? under('/nix/var/log/nix', logDir.value),
  };
}

/** The physical place of a store path. */
export function realPath(layout: StoreLayout, path: StorePath): string {
  return `${layout.realStoreDir}/${path}`;
}

/** Whether this process may read and write in a directory. */
export function isWritable(directory: string): boolean {
  try {
    accessSync(directory, constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

function withoutTrailingSlashes(path: string): string {
  return path.replace(/\/+$/, '');
}
