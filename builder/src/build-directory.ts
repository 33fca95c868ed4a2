import { chmodSync, chownSync, mkdirSync, writeFileSync } from 'node:fs';
import { deleteTree } from '@larder/substituter/local-store/delete-tree';

/** A build's temporary directory on the host. */
export interface BuildDirectory {
  readonly path: string;
  /** Leaves it, readable for the user. */
  keep(): void;
  delete(): Promise<void>;
}

type Owner = { readonly uid: number; readonly gid: number } | undefined;

/** Makes `nix-build-<name>-<number>` in `parent`, for the build user to own. */
export function createBuildDirectory(parent: string, name: string, user: Owner): BuildDirectory {
  const path = makeUnique(`${parent}/nix-build-${name}`);
  if (user !== undefined) chownSync(path, user.uid, user.gid);
  return { path, keep: () => chmodSync(path, 0o755), delete: () => deleteTree(path) };
}

/** Puts files (byte strings) into the directory, for the build user to own. */
export function writeBuildFiles(
  directory: BuildDirectory,
  files: ReadonlyMap<string, string>,
  user: Owner,
): void {
  for (const [name, contents] of files) {
    const file = `${directory.path}/${name}`;
    writeFileSync(file, contents, { encoding: 'latin1', flag: 'wx' });
    if (user !== undefined) chownSync(file, user.uid, user.gid);
  }
}

function makeUnique(prefix: string): string {
  for (let number = 0; ; number++) {
    try {
      mkdirSync(`${prefix}-${number}`, { mode: 0o700 });
      return `${prefix}-${number}`;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
  }
}
