import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import type { StorePath } from '@larder/signing/store-path';
import { deleteTree } from '@larder/substituter/local-store/delete-tree';
import type { LocalStore } from '@larder/substituter/local-store/local-store';

/** A bind mount: read-only unless it says otherwise. */
export interface Mount {
  readonly source: string;
  readonly target: string;
  readonly writable?: boolean;
  /** The source may be missing: then there is no mount. */
  readonly mayMiss?: boolean;
}

/** The directories of one build's sandbox on the host, and what is mounted where. */
export interface SandboxTree {
  /** Where outputs appear on the host: the sandbox's own store directory. */
  readonly storeDirectory: string;
  readonly mounts: readonly Mount[];
  delete(): Promise<void>;
}

export interface SandboxTreeOptions {
  readonly store: LocalStore;
  /** Its real path with `.chroot` names the tree, which collectors leave alone as long as it is in use. */
  readonly derivation: StorePath;
  readonly inputs: Iterable<StorePath>;
  readonly gid: number | undefined;
  readonly sandboxGid: number;
  readonly sandboxUid: number;
  readonly buildDir: string;
  /** Whether the build may use the network and so needs the files that say how. */
  readonly network: boolean;
}

/**
 * Makes a sandbox's tree beside the store, on its file system, so that outputs are moved from it by renaming.
 * The store directory in it belongs to root and is sticky: the build adds to it and can take nothing away.
 */
export async function createSandboxTree(options: SandboxTreeOptions): Promise<SandboxTree> {
  const { store, gid } = options;
  const root = `${store.realPath(options.derivation)}.chroot`;
  await deleteTree(root);
  mkdirSync(root, { mode: 0o750 });
  if (gid !== undefined) chownSync(root, 0, gid);
  for (const name of ['tmp', 'etc', 'store']) mkdirSync(`${root}/${name}`);
  chmodSync(`${root}/tmp`, 0o1777);
  chmodSync(`${root}/store`, 0o1775);
  if (gid !== undefined) chownSync(`${root}/store`, 0, gid);
  const mounts: Mount[] = [
    { source: `${root}/store`, target: store.storeDir.path, writable: true },
    { source: `${root}/tmp`, target: '/tmp', writable: true },
    ...writeEtcFiles(`${root}/etc`, options),
  ];
  for (const path of options.inputs) {
    const source = store.realPath(path);
    if (placeInput(source, `${root}/store/${path}`))
      mounts.push({ source, target: store.storeDir.format(path) });
  }
  return { storeDirectory: `${root}/store`, mounts, delete: () => deleteTree(root) };
}

/** Makes the mount point of an input, or the input itself where it is a symbolic link: that cannot be mounted. */
function placeInput(source: string, target: string): boolean {
  const status = lstatSync(source);
  if (status.isSymbolicLink()) {
    symlinkSync(readlinkSync(source), target);
    return false;
  }
  if (status.isDirectory()) mkdirSync(target);
  else writeFileSync(target, '');
  return true;
}

/** The files of /etc that programs cannot do without, the same on every machine. */
function writeEtcFiles(directory: string, options: SandboxTreeOptions): Mount[] {
  const { sandboxUid: uid, sandboxGid: gid, buildDir } = options;
  const files: Record<string, string> = {
    passwd:
      `root:x:0:0:Nix build user:${buildDir}:/noshell\n` +
      `nixbld:x:${uid}:${gid}:Nix build user:${buildDir}:/noshell\n` +
      'nobody:x:65534:65534:Nobody:/:/noshell\n',
    group: `root:x:0:\nnixbld:!:${gid}:\nnogroup:x:65534:\n`,
  };
  if (options.network) files['nsswitch.conf'] = 'hosts: files dns\nservices: files\n';
  else files.hosts = '127.0.0.1 localhost\n::1 localhost\n';
  for (const [name, text] of Object.entries(files)) writeFileSync(`${directory}/${name}`, text);
  const names = Object.keys(files);
  for (const name of options.network ? ['resolv.conf', 'services', 'hosts'] : []) {
    if (!existsSync(`/etc/${name}`)) continue;
    copyFileSync(`/etc/${name}`, `${directory}/${name}`);
    names.push(name);
  }
  return names.map((name) => ({ source: `${directory}/${name}`, target: `/etc/${name}` }));
}
