import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  statSync,
  symlinkSync,
  writeSync,
} from 'node:fs';
import type { StoreLayout } from './layout.js';

/**
 * Makes the directories that Nix expects of a store, those that are missing. Nix does the same whenever it
 * opens one, so a store made here looks to it like its own.
 */
export function createStoreDirectories({ realStoreDir, stateDir }: StoreLayout): void {
  const profiles = `${stateDir}/profiles`;
  const gcRoots = `${stateDir}/gcroots`;
  const directories = [
    realStoreDir,
    `${realStoreDir}/.links`,
    profiles,
    `${stateDir}/temproots`,
    `${stateDir}/db`,
  ];
  for (const directory of directories) mkdirSync(directory, { recursive: true });
  if (!existsSync(gcRoots)) {
    mkdirSync(gcRoots, { recursive: true });
    symlinkSync(profiles, `${gcRoots}/profiles`);
  }
  for (const perUser of [`${profiles}/per-user`, `${gcRoots}/per-user`]) {
    if (existsSync(perUser)) continue;
    mkdirSync(perUser, { recursive: true });
    chmodSync(perUser, 0o755);
  }
}

/**
 * Makes the file `reserved` of `size` bytes. Nix deletes it before it collects garbage: on a full disk SQLite
 * could otherwise not even open the database that says what may be deleted. It is kept best-effort, as there.
 */
export function reserveSpace(stateDir: string, size: number): void {
  const path = `${stateDir}/db/reserved`;
  try {
    if (existsSync(path) && statSync(path).size === size) return;
    const fd = openSync(path, 'w', 0o600);
    try {
      // Written, not truncated to size: a hole would reserve nothing.
      const block = Buffer.alloc(64 * 1024, 'X');
      for (let left = size; left > 0; left -= block.length)
        writeSync(fd, block, 0, Math.min(left, block.length));
    } finally {
      closeSync(fd);
    }
  } catch {
    // A full disk must not keep anybody from using the store.
  }
}
