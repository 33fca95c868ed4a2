import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { SecretKey } from '@larder/signing/key';
import { makeClosure } from '../closures/closure.js';
import { importClosure } from '../closures/nix-import.js';
import { needsComponent } from '../engines/components.js';
import { startNginx } from '../engines/nginx.js';
import { Nix } from '../oracle/nix.js';
import { TestClient } from './client.js';
import { assertStoreIsSound } from './store-checks.js';

for (const compression of ['none', 'xz', 'zstd', 'bzip2', 'gzip', 'br', 'lzip', 'lz4']) {
  test(`a closure comes out of a ${compression} cache of Nix's as it went in`, async (t) => {
    if (!needsComponent(t, 'nix')) return;
    await using nix = await Nix.create();
    await using client = TestClient.create();
    const objects = await makeClosure(nix.scratch.join('trees'), { seed: compression, paths: 8 });
    const paths = await importClosure(nix, objects);
    const cache = `file://${nix.scratch.join('cache')}`;
    await nix.run('nix', ['copy', '--to', `${cache}?compression=${compression}`, ...paths]);

    const root = nix.scratch.join('ours');
    const last = objects.at(-1)!;
    const { copied } = await client.copy([last.storePath], { from: [cache], to: `local?root=${root}` });
    assert.deepEqual([...copied].sort(), objects.map(({ storePath }) => storePath).sort());
    await assertStoreIsSound(nix, root, paths);
  });
}

for (const compression of ['none', 'xz', 'zstd', 'gzip', 'br']) {
  test(`Nix fetches a closure from a ${compression} cache that we wrote, by its signatures`, async (t) => {
    if (!needsComponent(t, 'nix')) return;
    await using nix = await Nix.create();
    await using client = TestClient.create();
    const objects = await makeClosure(nix.scratch.join('trees'), { seed: compression, paths: 6 });
    const paths = await importClosure(nix, objects);
    const key = SecretKey.generate('test-1');
    await writeFile(nix.scratch.join('secret'), key.format());
    const directory = nix.scratch.join('cache');
    const to = `file://${directory}?compression=${compression}&secret-key=${nix.scratch.join('secret')}&write-nar-listing=1`;
    await client.copy([objects.at(-1)!.storePath], { from: [`local?root=${nix.root}`], to });

    await using server = await startNginx(directory);
    for (const url of [`file://${directory}`, server.url]) {
      const fetched = await nix.fetchFresh(url, key.publicKey().format(), paths);
      assert.equal(fetched.status, 0, fetched.stderr);
    }
    const listing = await nix.try('nix', ['store', 'ls', '--store', server.url, '-R', paths.at(-1)!]);
    assert.ok(listing.status === 0 || /cannot|unrecog/.test(listing.stderr), listing.stderr);
  });
}

test('a second copy finds everything there and asks for no archive', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using nix = await Nix.create();
  await using client = TestClient.create();
  const objects = await makeClosure(nix.scratch.join('trees'), { seed: 'twice', paths: 5 });
  await importClosure(nix, objects);
  const job = { from: [`local?root=${nix.root}`], to: `file://${nix.scratch.join('cache')}` };
  const roots = [objects.at(-1)!.storePath];
  assert.equal((await client.copy(roots, job)).copied.length, 5);
  assert.equal((await client.copy(roots, job)).copied.length, 0);
});
