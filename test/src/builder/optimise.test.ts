import assert from 'node:assert/strict';
import { lstatSync, readdirSync } from 'node:fs';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { needsComponent } from '../engines/components.js';
import { Nix } from '../oracle/nix.js';
import { larderAt, storeUri } from '../publish/publishing.js';

/** Two trees that share most of what is in them. */
async function addTrees(store: Nix): Promise<readonly string[]> {
  const trees = ['one', 'two'].map((name) => store.scratch.join(name));
  for (const tree of trees) {
    await mkdir(`${tree}/deep`, { recursive: true });
    await writeFile(`${tree}/same`, 'the same in both');
    await writeFile(`${tree}/deep/also`, 'the same in both');
    await writeFile(`${tree}/program`, 'the same in both', { mode: 0o755 });
    await writeFile(`${tree}/own`, tree);
    await writeFile(`${tree}/empty`, '');
  }
  return store.add(...trees);
}

/** How files hang together: each with its link's name, if it has one. */
function describeLinks(store: Nix, paths: readonly string[]): Record<string, string | undefined> {
  const directory = `${store.realStoreDir}/.links`;
  const byInode = new Map(
    readdirSync(directory).map((name) => [lstatSync(`${directory}/${name}`).ino, name]),
  );
  return Object.fromEntries(
    paths.flatMap((path) =>
      ['same', 'deep/also', 'program', 'own', 'empty'].map((file) => {
        const status = lstatSync(`${store.realPath(path)}/${file}`);
        return [`${path}/${file}`, byInode.get(status.ino)] as const;
      }),
    ),
  );
}

test('optimise makes the links that stock Nix makes, under the same names, and leaves metadata alone', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using nix = await Nix.create();
  await using ours = await Nix.create();
  const paths = await addTrees(nix);
  // The trees' contents name their place, so they must be the same files.
  assert.equal((await ours.add(nix.scratch.join('one'), nix.scratch.join('two'))).join(), paths.join());
  await nix.run('nix-store', ['--optimise']);
  const done = await larderAt(ours, ['store', 'optimise', '--store', storeUri(ours)]);
  assert.equal(done.status, 0, done.stderr);
  assert.match(done.stderr, /freed by hard-linking 5 files/);
  assert.deepEqual(describeLinks(ours, paths), describeLinks(nix, paths));
  for (const path of paths) {
    for (const file of ['', '/deep', '/same']) {
      const status = lstatSync(`${ours.realPath(path)}${file}`);
      assert.equal(status.mtimeMs, 1000, file);
      assert.equal(status.mode & 0o222, 0, file);
    }
  }
  const verified = await ours.try('nix-store', ['--verify', '--check-contents']);
  assert.equal(verified.status, 0, verified.stderr);
  // Each takes the other's work for done.
  const again = await ours.try('nix-store', ['--optimise']);
  assert.match(again.stderr, /\b0 files/);
  const twice = await larderAt(nix, ['store', 'optimise', '--store', storeUri(nix)]);
  assert.match(twice.stderr, /hard-linking 0 files/);
});

test('auto-optimise-store shares the files of what comes in, and leaves writable ones alone', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using store = await Nix.create({ settings: { 'auto-optimise-store': 'true' } });
  const tree = store.scratch.join('tree');
  await mkdir(tree);
  await writeFile(`${tree}/a`, 'shared');
  await writeFile(`${tree}/b`, 'shared');
  const added = await larderAt(store, ['store', 'add', tree, '--store', storeUri(store)]);
  const real = store.realPath(added.stdout.toString().trim());
  assert.equal(lstatSync(`${real}/a`).ino, lstatSync(`${real}/b`).ino);
  const [other = ''] = await store.add(larderFile(store));
  await chmod(store.realPath(other), 0o644);
  const done = await larderAt(store, ['store', 'optimise', '--store', storeUri(store)]);
  assert.match(done.stderr, /skipping suspicious writable file/);
});

function larderFile(store: Nix): string {
  return store.scratch.join('conf/nix.conf');
}
