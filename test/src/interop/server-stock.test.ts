import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PublicKey } from '@larder/signing/key';
import { parseNarListing, readNarListing } from '@larder/signing/nar-listing';
import { writeNar } from '@larder/signing/nar-writer';
import { parseNarInfo } from '@larder/signing/narinfo';
import { storePathHashPart } from '@larder/signing/store-path';
import { TrustedKeys } from '@larder/signing/trust';
import { makeClosure } from '../closures/closure.js';
import { importClosure } from '../closures/nix-import.js';
import { needsComponent } from '../engines/components.js';
import { Larder } from '../larder/larder.js';
import { LarderServer } from '../larder/server.js';
import { Nix } from '../oracle/nix.js';
import { defaultStoreDir } from '../store-dir.js';

for (const compression of ['none', 'xz', 'zstd', 'bzip2', 'gzip', 'br', 'lzma', 'lz4']) {
  test(`Nix pushes with ${compression} and a listing; what is served is verified, signed and complete`, async (t) => {
    if (!needsComponent(t, 'nix')) return;
    await using nix = await Nix.create();
    await using larder = await Larder.create();
    await using server = await LarderServer.start(larder);
    const objects = await makeClosure(nix.scratch.join('trees'), { seed: `push-${compression}` });
    const paths = await importClosure(nix, objects);
    await nix.login(await server.token());
    const to = `${server.cache}?compression=${compression}&write-nar-listing=true`;
    await nix.run('nix', ['copy', '--to', to, ...paths]);
    const keys = await server.publicKeys();
    assert.equal(keys.length, 1);
    const trusted = new TrustedKeys(keys.map((key) => PublicKey.parse(key)));
    for (const { storePath, tree, references, deriver } of objects) {
      const hashPart = storePathHashPart(storePath);
      const text = await (await fetch(`${server.cache}/${hashPart}.narinfo`)).text();
      const info = parseNarInfo(text, defaultStoreDir);
      assert.equal(info.storePath, storePath);
      assert.deepEqual(info.references, references);
      assert.equal(info.deriver, deriver);
      assert.equal(trusted.verify(info, defaultStoreDir).length, 1);
      const listing = parseNarListing(await (await fetch(`${server.cache}/${hashPart}.ls`)).text());
      assert.deepEqual(listing, await readNarListing(writeNar(tree)));
    }
    const fetched = await nix.fetchFresh(server.cache, keys[0] ?? '', paths);
    assert.equal(fetched.status, 0, fetched.stderr);
  });
}

test('what Nix pushed once is not sent again', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using nix = await Nix.create();
  await using larder = await Larder.create();
  await using server = await LarderServer.start(larder);
  const paths = await importClosure(nix, await makeClosure(nix.scratch.join('trees'), { seed: 'again' }));
  await nix.login(await server.token());
  await nix.run('nix', ['copy', '--to', server.cache, ...paths]);
  const again = await nix.try('nix', ['copy', '--to', server.cache, ...paths]);
  assert.equal(again.status, 0);
  assert.doesNotMatch(again.stderr, /copying path/);
});

for (const [who, password] of [
  ['without a token', undefined],
  ['with a wrong token', 'not-the-token'],
] as const) {
  test(`a push ${who} is refused, and nothing of it can be seen`, async (t) => {
    if (!needsComponent(t, 'nix')) return;
    await using nix = await Nix.create();
    await using larder = await Larder.create();
    await using server = await LarderServer.start(larder);
    const objects = await makeClosure(nix.scratch.join('trees'), { seed: 'refused', paths: 2 });
    const paths = await importClosure(nix, objects);
    if (password !== undefined) await nix.login(password);
    const { status, stderr } = await nix.try('nix', ['copy', '--to', server.cache, ...paths]);
    assert.notEqual(status, 0);
    assert.match(stderr, /401|403|nauthorized|orbidden/);
    for (const { storePath } of objects) {
      const answer = await fetch(`${server.cache}/${storePathHashPart(storePath)}.narinfo`);
      assert.equal(answer.status, 404);
    }
  });
}

test('Nix pulls what larder push published, trusts its signature, and reads listings and single files', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using nix = await Nix.create();
  await using larder = await Larder.create();
  await using server = await LarderServer.start(larder);
  const objects = await makeClosure(nix.scratch.join('trees'), { seed: 'pull' });
  const paths = await importClosure(nix, objects);
  const top = paths.at(-1) ?? '';
  const from = ['--store', `local?root=${nix.root}`];
  await larder.run(['push', server.cache, top, ...from, '--token-file', server.tokenFile]);
  const [key = ''] = await server.publicKeys();
  await using other = await Nix.create({ settings: { 'trusted-public-keys': key } });
  await other.run('nix', ['copy', '--from', server.cache, top]);
  const sound = await other.try('nix-store', ['--verify', '--check-contents']);
  assert.doesNotMatch(sound.stderr, /error|modified|missing/);
  await other.run('nix', ['store', 'verify', '--recursive', '--sigs-needed', '1', top]);
  const requisites = await other.run('nix-store', ['--query', '--requisites', top]);
  assert.deepEqual(requisites.split('\n').sort(), [...paths].sort());
  const program = await nix.runOn(server.cache, 'nix', ['store', 'cat', `${top}/bin/program`]);
  assert.equal(program, await nix.run('nix', ['store', 'cat', `${top}/bin/program`]));
  const listed = await nix.runOn(server.cache, 'nix', ['store', 'ls', '--recursive', '--long', top]);
  assert.equal(listed, await nix.run('nix', ['store', 'ls', '--recursive', '--long', top]));
  const infos = JSON.parse(
    await nix.runOn(server.cache, 'nix', ['path-info', '--json', '--recursive', top]),
  ) as unknown[];
  assert.equal(infos.length, objects.length);
});

test('Nix refuses what is signed by another key than the one it trusts', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using nix = await Nix.create();
  await using larder = await Larder.create();
  await using server = await LarderServer.start(larder);
  const paths = await importClosure(nix, await makeClosure(nix.scratch.join('trees'), { seed: 'other' }));
  await nix.login(await server.token());
  await nix.run('nix', ['copy', '--to', server.cache, ...paths]);
  const other = await larder.run(['key', 'generate', '--name', 'other-1', '--out', larder.scratch.join('k')]);
  const { status, stderr } = await nix.fetchFresh(server.cache, other, paths);
  assert.notEqual(status, 0);
  assert.match(stderr, /lacks a (valid )?signature/);
});

test('larder copy fetches from the server what Nix pushed to it, into a store that Nix finds sound', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using nix = await Nix.create();
  await using check = await Nix.create();
  await using larder = await Larder.create();
  await using server = await LarderServer.start(larder);
  const paths = await importClosure(nix, await makeClosure(nix.scratch.join('trees'), { seed: 'both' }));
  await nix.login(await server.token());
  await nix.run('nix', ['copy', '--to', server.cache, ...paths]);
  const [key = ''] = await server.publicKeys();
  const to = ['--to', `local?root=${check.root}`, '--trusted-public-keys', key];
  await larder.run(['copy', '--from', server.cache, ...to, paths.at(-1) ?? '']);
  const sound = await check.try('nix-store', ['--verify', '--check-contents']);
  assert.doesNotMatch(sound.stderr, /error|modified|missing/);
  const valid = await check.run('nix', ['path-info', '--all']);
  assert.deepEqual(valid.split('\n').sort(), [...paths].sort());
});
