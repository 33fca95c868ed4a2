import type { Settings } from '../settings/settings.js';

/** The settings a local store obeys. */
export interface LocalStoreOptions {
  readonly fsyncMetadata: boolean;
  /** Flush files to disk before their path becomes valid. */
  readonly fsyncStorePaths: boolean;
  readonly reservedSpace: number;
  /** `auto-optimise-store`: share the files of each path that comes in. */
  readonly optimise: boolean;
  /** Make the tables of realisations at once, as Nix does where `ca-derivations` is on: it needs the store alone for that. */
  readonly realisations: boolean;
  /** Called when another process holds what is needed: the path of the lock. */
  readonly onWait?: (path: string) => void;
}

export function localStoreOptions(settings: Settings): LocalStoreOptions {
  return {
    fsyncMetadata: settings.get('fsync-metadata'),
    // sync-before-registering asks for the same guarantee by syncing the whole machine.
    fsyncStorePaths: settings.get('fsync-store-paths') || settings.get('sync-before-registering'),
    reservedSpace: settings.get('gc-reserved-space'),
    optimise: settings.get('auto-optimise-store'),
    realisations: /(^|\s)ca-derivations(\s|$)/.test(settings.other('experimental-features')?.value ?? ''),
  };
}
