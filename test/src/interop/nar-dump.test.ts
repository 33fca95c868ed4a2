import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Hasher } from '@larder/signing/hash';
import { restoreNar } from '@larder/signing/nar-restore';
import { writeNar } from '@larder/signing/nar-writer';
import { needsComponent } from '../engines/components.js';
import { makeScratch } from '../engines/scratch.js';
import { Nix } from '../oracle/nix.js';
import { hardTrees } from '../trees.js';

for (const { name, make } of hardTrees) {
  test(`the archive of ${name} is byte for byte that of nix-store --dump`, async (t) => {
    if (!needsComponent(t, 'nix')) return;
    await using scratch = await makeScratch('dump');
    await using nix = await Nix.create();
    await make(scratch.join('tree'));
    const theirs = await nix.runBytes('nix-store', ['--dump', scratch.join('tree')]);
    const ours = new Hasher('sha256');
    let size = 0;
    for await (const chunk of writeNar(scratch.join('tree'))) {
      ours.update(chunk);
      size += chunk.length;
    }
    assert.equal(size, theirs.length);
    const expected = new Hasher('sha256');
    expected.update(theirs);
    assert.equal(`${ours.digest()}`, `${expected.digest()}`);
  });

  test(`${name}: Nix restores our archive to what it was, and we restore Nix's`, async (t) => {
    if (!needsComponent(t, 'nix')) return;
    await using scratch = await makeScratch('restore');
    await using nix = await Nix.create();
    await make(scratch.join('tree'));
    const archive = await nix.runBytes('nix-store', ['--dump', scratch.join('tree')]);
    await nix.runBytes('nix-store', ['--restore', scratch.join('theirs')], {
      input: writeNar(scratch.join('tree')),
    });
    await restoreNar(oneChunk(archive), scratch.join('ours'));
    for (const copy of ['theirs', 'ours']) {
      const dumped = await nix.runBytes('nix-store', ['--dump', scratch.join(copy)]);
      assert.ok(dumped.equals(archive), `the copy in ${copy} differs`);
    }
  });
}

async function* oneChunk(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
