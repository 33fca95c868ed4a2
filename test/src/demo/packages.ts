import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { makeOutputPath } from '@larder/signing/content-address';
import { computeHash, hashStream } from '@larder/signing/hash';
import { writeNar } from '@larder/signing/nar-writer';
import type { StorePath } from '@larder/signing/store-path';
import { loadSettings } from '@larder/substituter/config';
import { addNar } from '@larder/substituter/local-store/add-path';
import { findStoreLayout } from '@larder/substituter/local-store/layout';
import { LocalStore, localStoreOptions } from '@larder/substituter/local-store/local-store';
import { SeededRandom } from '../closures/random.js';
import type { Larder } from '../larder/larder.js';
import { defaultStoreDir } from '../store-dir.js';

/**
 * Puts three packages into the store under `root`, as builds would have: a library, a program that refers to it and to
 * itself, and a profile of symbolic links to both. Returns the profile's full store path.
 */
export async function makePackages(larder: Larder, root: string): Promise<string> {
  const settings = loadSettings(larder.env);
  const layout = findStoreLayout(settings, new Map([['root', root]]));
  const store = await LocalStore.open(layout, localStoreOptions(settings), `local?root=${root}`);
  try {
    const library = await build(store, larder, {
      name: 'libgreeting-1.4',
      references: [],
      write: writeLibrary,
    });
    const program = await build(store, larder, {
      name: 'hello-2.12',
      references: [library],
      write: (tree, self) => writeProgram(tree, { self, library }),
    });
    const profile = await build(store, larder, {
      name: 'profile',
      references: [library, program],
      write: (tree) => writeProfile(tree, { library, program }),
    });
    return defaultStoreDir.format(profile);
  } finally {
    await store.close();
  }
}

interface Package {
  readonly name: string;
  readonly references: readonly StorePath[];
  /** Makes the tree at a path; the contents may mention the store path it will have. */
  readonly write: (tree: string, self: StorePath) => Promise<void>;
}

async function build(
  store: LocalStore,
  larder: Larder,
  { name, references, write }: Package,
): Promise<StorePath> {
  // Named by what it is built from, as a build is, so that only a signature can vouch for its contents.
  const storePath = makeOutputPath(defaultStoreDir, 'out', {
    hash: computeHash('sha256', `build of ${name}`),
    name,
  });
  const tree = larder.scratch.join('builds', storePath);
  await mkdir(larder.scratch.join('builds'), { recursive: true });
  await write(tree, storePath);
  const { hash: narHash, size: narSize } = await hashStream('sha256', writeNar(tree));
  const own = name.startsWith('hello') ? [storePath] : [];
  const info = { storePath, narHash, narSize, references: [...references, ...own].sort(), signatures: [] };
  await addNar(store, info, writeNar(tree));
  return storePath;
}

async function writeLibrary(tree: string): Promise<void> {
  const random = new SeededRandom('greeting');
  await mkdir(join(tree, 'lib'), { recursive: true });
  await writeFile(join(tree, 'lib/libgreeting.so.1.4'), random.bytes(1_500_000));
  await symlink('libgreeting.so.1.4', join(tree, 'lib/libgreeting.so.1'));
  await mkdir(join(tree, 'share/doc'), { recursive: true });
  await writeFile(join(tree, 'share/doc/greeting.txt'), random.words(2_000_000));
  await writeFile(join(tree, 'share/doc/NEWS'), '');
}

async function writeProgram(
  tree: string,
  { self, library }: { readonly self: StorePath; readonly library: StorePath },
): Promise<void> {
  const [own, needed] = [defaultStoreDir.format(self), defaultStoreDir.format(library)];
  await mkdir(join(tree, 'bin'), { recursive: true });
  await mkdir(join(tree, 'share/locale/de'), { recursive: true });
  const script = `#!/bin/sh\n# uses ${needed}/lib/libgreeting.so.1\nexec cat ${own}/share/locale/\${LANG%%_*}/hello\n`;
  await writeFile(join(tree, 'bin/hello'), script, { mode: 0o755 });
  await writeFile(join(tree, 'share/locale/de/hello'), 'Hallo, Welt!\n');
  await symlink('hello', join(tree, 'bin/hi'));
}

async function writeProfile(
  tree: string,
  { library, program }: { readonly library: StorePath; readonly program: StorePath },
): Promise<void> {
  await mkdir(join(tree, 'bin'), { recursive: true });
  await symlink(`${defaultStoreDir.format(program)}/bin/hello`, join(tree, 'bin/hello'));
  await symlink(`${defaultStoreDir.format(library)}/lib`, join(tree, 'lib'));
}
