import assert from 'node:assert/strict';
import { createReadStream } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { formatCacheInfo, parseCacheInfo } from '@larder/signing/cache-info';
import { hashStream } from '@larder/signing/hash';
import { formatNarListing, parseNarListing, readNarListing } from '@larder/signing/nar-listing';
import { writeNar } from '@larder/signing/nar-writer';
import { formatNarInfo, parseNarInfo } from '@larder/signing/narinfo';
import { formatRealisation, parseRealisation } from '@larder/signing/realisation';
import { storePathHashPart } from '@larder/signing/store-path';
import { makeClosure } from '../closures/closure.js';
import { importClosure } from '../closures/nix-import.js';
import { needsComponent } from '../engines/components.js';
import { Nix } from '../oracle/nix.js';
import { defaultStoreDir } from '../store-dir.js';
import { hardTrees } from '../trees.js';

for (const compression of ['none', 'xz', 'zstd', 'bzip2', 'gzip', 'br']) {
  test(`narinfos of a cache that Nix made with ${compression} read and write back to the same bytes`, async (t) => {
    if (!needsComponent(t, 'nix')) return;
    await using nix = await Nix.create();
    const objects = await makeClosure(nix.scratch.join('trees'), { seed: 'cache', paths: 6, bytes: 50_000 });
    const paths = await importClosure(nix, objects);
    const secret = nix.scratch.join('key');
    await nix.run('nix-store', ['--generate-binary-cache-key', 'k-1', secret, nix.scratch.join('public')]);
    const folder = nix.scratch.join('files');
    const url = `file://${folder}?compression=${compression}&secret-key=${secret}`;
    await nix.run('nix', ['copy', '--to', url, ...paths]);
    for (const { storePath, tree, references, deriver } of objects) {
      const text = await readFile(`${folder}/${storePathHashPart(storePath)}.narinfo`, 'utf8');
      const info = parseNarInfo(text, defaultStoreDir);
      assert.equal(formatNarInfo(info, defaultStoreDir), text);
      assert.equal(info.storePath, storePath);
      assert.equal(info.compression, compression);
      assert.deepEqual(info.references, references);
      assert.equal(info.deriver, deriver);
      const archive = await hashStream('sha256', writeNar(tree));
      assert.equal(`${info.narHash}`, `${archive.hash}`);
      assert.equal(info.narSize, archive.size);
      const file = await hashStream('sha256', createReadStream(`${folder}/${info.url}`));
      assert.equal(`${info.fileHash}`, `${file.hash}`);
      assert.equal(info.fileSize, file.size);
    }
  });
}

test('nix-cache-info as Nix writes it is read', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using nix = await Nix.create();
  const [path = ''] = await nix.add('/etc/hostname');
  const folder = nix.scratch.join('files');
  await nix.run('nix', ['copy', '--to', `file://${folder}`, path]);
  const info = parseCacheInfo(await readFile(`${folder}/nix-cache-info`, 'utf8'));
  assert.equal(info.storeDir, '/nix/store');
  assert.deepEqual(parseCacheInfo(formatCacheInfo(info)), info);
});

for (const { name, make } of hardTrees) {
  // Nix writes listings as JSON, which cannot hold every name, and then writes none.
  if (name === 'names that are no text') continue;
  test(`the listing of ${name} is the one Nix writes`, async (t) => {
    if (!needsComponent(t, 'nix')) return;
    await using nix = await Nix.create();
    const tree = nix.scratch.join('tree');
    await make(tree);
    const [path = ''] = await nix.add(tree);
    const folder = nix.scratch.join('files');
    await nix.run('nix', ['copy', '--to', `file://${folder}?write-nar-listing=true&compression=none`, path]);
    const hashPart = storePathHashPart(defaultStoreDir.parse(path));
    const theirs = await readFile(`${folder}/${hashPart}.ls`, 'utf8');
    const ours = await readNarListing(writeNar(tree));
    assert.deepEqual(JSON.parse(formatNarListing(ours)), JSON.parse(theirs));
    assert.deepEqual(parseNarListing(theirs), parseNarListing(formatNarListing(ours)));
  });
}

test('realisations as Nix writes them read and write back to the same bytes', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using nix = await Nix.create({ storeDir: 'diverted' });
  const expression = `let
      make = name: inputs: derivation {
        inherit name inputs; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" "echo $name $inputs > $out" ];
        __contentAddressed = true; outputHashMode = "recursive"; outputHashAlgo = "sha256";
      };
    in make "upper" [ (make "lower" [ ]) ]`;
  await nix.run('nix-build', ['--no-out-link', '-E', expression]);
  const folder = nix.scratch.join('files');
  await nix.run('nix', ['copy', '--to', `file://${folder}`, '--impure', '--expr', expression]);
  const files = await readdir(`${folder}/realisations`);
  assert.ok(files.length >= 1);
  for (const file of files) {
    const text = await readFile(`${folder}/realisations/${file}`, 'utf8');
    const realisation = parseRealisation(text, file);
    assert.equal(formatRealisation(realisation), text);
    assert.equal(`${realisation.id}.doi`, file);
  }
});
