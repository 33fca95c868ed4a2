import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { type ClosureObject, makeClosure } from '../closures/closure.js';
import { importClosure } from '../closures/nix-import.js';
import { needsComponent } from '../engines/components.js';
import { Larder } from '../larder/larder.js';
import { Nix, type NixPathInfo } from '../oracle/nix.js';
import { defaultStoreDir } from '../store-dir.js';
import { hardTrees } from '../trees.js';

for (const compression of ['none', 'xz', 'zstd', 'bzip2', 'gzip', 'br', 'lzma', 'lz4']) {
  test(`larder copy fetches from a cache that Nix made with ${compression}, and Nix finds the store sound`, async (t) => {
    if (!needsComponent(t, 'nix')) return;
    await using theirs = await Nix.create();
    await using larder = await Larder.create();
    await using check = await Nix.create();
    const objects = await makeClosure(theirs.scratch.join('trees'), { seed: compression });
    const paths = await importClosure(theirs, objects);
    const [secret, shown] = [theirs.scratch.join('key'), theirs.scratch.join('key.public')];
    await theirs.run('nix-store', ['--generate-binary-cache-key', 'nix-1', secret, shown]);
    const cache = `file://${theirs.scratch.join('files')}`;
    const parameters = `compression=${compression}&secret-key=${secret}`;
    await theirs.run('nix', ['copy', '--to', `${cache}?${parameters}`, ...paths]);
    const key = (await readFile(shown, 'utf8')).trim();
    const to = ['--to', `local?root=${check.root}`];
    await larder.run(['copy', '--from', cache, ...to, '--trusted-public-keys', key, paths.at(-1) ?? '']);
    await assertSameStore(check, theirs, objects);
  });
}

for (const compression of ['none', 'xz', 'zstd', 'gzip', 'br']) {
  test(`Nix reads a cache that larder copy made with ${compression}, signatures and listings and all`, async (t) => {
    if (!needsComponent(t, 'nix')) return;
    await using nix = await Nix.create();
    await using larder = await Larder.create();
    const objects = await makeClosure(nix.scratch.join('trees'), { seed: `out-${compression}` });
    const paths = await importClosure(nix, objects);
    const secret = larder.scratch.join('key');
    const key = await larder.run(['key', 'generate', '--name', 'larder-1', '--out', secret]);
    const cache = `file://${larder.scratch.join('files')}`;
    const to = `${cache}?compression=${compression}&secret-key=${secret}&write-nar-listing=true`;
    await larder.run(['copy', '--from', `local?root=${nix.root}`, '--to', to, ...paths]);
    const fetched = await nix.fetchFresh(cache, key, paths);
    assert.equal(fetched.status, 0, fetched.stderr);
    const listed = await nix.run('nix', ['store', 'ls', '--recursive', `${paths[0]}`]);
    assert.equal(await nix.runOn(cache, 'nix', ['store', 'ls', '--recursive', `${paths[0]}`]), listed);
  });
}

test('Nix works on a store that Larder wrote, and Larder on one that Nix wrote', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using theirs = await Nix.create();
  await using ours = await Nix.create();
  await using back = await Nix.create();
  await using larder = await Larder.create();
  const objects = await makeClosure(theirs.scratch.join('trees'), { seed: 'stores' });
  const paths = await importClosure(theirs, objects);
  const copy = (from: Nix, to: Nix) =>
    larder.run([
      ...['copy', '--from', `local?root=${from.root}`, '--to', `local?root=${to.root}`],
      ...['--no-require-sigs', ...paths],
    ]);
  await copy(theirs, ours);
  await assertSameStore(ours, theirs, objects);
  // Nix adds to the store that Larder made, and Larder reads that again.
  const [added = ''] = await ours.add('/etc/hostname');
  await copy(ours, back);
  await larder.run([
    ...['copy', '--from', `local?root=${ours.root}`, '--to', `local?root=${back.root}`, added],
  ]);
  await assertSameStore(back, theirs, objects);
  await back.run('nix-store', ['--delete', '--ignore-liveness', added]);
});

for (const { name, make } of hardTrees) {
  test(`${name} goes through 'larder store add' to the same path as through Nix`, async (t) => {
    if (!needsComponent(t, 'nix')) return;
    await using nix = await Nix.create();
    await using check = await Nix.create();
    await using larder = await Larder.create();
    const tree = larder.scratch.join('a-tree');
    await make(tree);
    const [theirs = ''] = await nix.add(tree);
    const ours = await larder.run(['store', 'add', '--store', `local?root=${check.root}`, tree]);
    assert.equal(ours, theirs);
    await check.run('nix-store', ['--verify', '--check-contents']);
  });
}

/** Nix finds the store sound, and what it says about each path is what it says of the original. */
async function assertSameStore(store: Nix, original: Nix, objects: readonly ClosureObject[]): Promise<void> {
  const { status, stderr } = await store.try('nix-store', ['--verify', '--check-contents']);
  assert.equal(status, 0, stderr);
  assert.doesNotMatch(stderr, /error|modified|disappeared|missing/);
  const paths = objects.map(({ storePath }) => defaultStoreDir.format(storePath));
  const [here, there] = await Promise.all([store.pathInfo(...paths), original.pathInfo(...paths)]);
  assert.deepEqual(here.map(essentials), there.map(essentials));
  for (const query of ['--references', '--requisites', '--deriver', '--referrers', '--hash', '--size']) {
    const path = paths[query === '--referrers' ? 0 : paths.length - 1] ?? '';
    const [answer, expected] = await Promise.all(
      [store, original].map((nix) => nix.run('nix-store', ['--query', query, path])),
    );
    assert.deepEqual(answer?.split('\n').sort(), expected?.split('\n').sort(), `${query} ${path}`);
  }
}

/** What a store says of a path, without what it may say differently. */
function essentials({ path, narHash, narSize, references, deriver, ca }: NixPathInfo): object {
  return { path, narHash, narSize, references: [...references].sort(), deriver, ca };
}
