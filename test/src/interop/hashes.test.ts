import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { computeHash, hashAlgorithms, hashStream, parseHash } from '@larder/signing/hash';
import { writeNar } from '@larder/signing/nar-writer';
import { SeededRandom } from '../closures/random.js';
import { needsComponent } from '../engines/components.js';
import { makeScratch } from '../engines/scratch.js';
import { Nix } from '../oracle/nix.js';
import { hardTrees } from '../trees.js';

/** Nix's option for each notation. */
const notations = { nix32: '--base32', base16: '--base16', base64: '--base64', sri: '--sri' } as const;

for (const algorithm of hashAlgorithms) {
  test(`a ${algorithm} hash is written as 'nix hash file' writes it, and read back from all its notations`, async (t) => {
    if (!needsComponent(t, 'nix')) return;
    await using nix = await Nix.create();
    const contents = new SeededRandom(algorithm).bytes(12_345);
    const file = nix.scratch.join('file');
    await writeFile(file, contents);
    const hash = computeHash(algorithm, contents);
    for (const [notation, option] of Object.entries(notations)) {
      const theirs = await nix.run('nix', ['hash', 'file', '--type', algorithm, option, file]);
      const digest = hash.format(notation as keyof typeof notations, { prefix: false });
      assert.equal(digest, theirs, notation);
      assert.ok(parseHash(theirs, algorithm).equals(hash), notation);
      if (notation !== 'sri') assert.ok(parseHash(`${algorithm}:${theirs}`).equals(hash), notation);
    }
  });

  test(`Nix reads every notation of ours of a ${algorithm} hash`, async (t) => {
    if (!needsComponent(t, 'nix')) return;
    await using nix = await Nix.create();
    const hash = computeHash(algorithm, 'contents');
    for (const notation of ['nix32', 'base16', 'base64', 'sri'] as const) {
      const converted = await nix.run('nix', ['hash', 'to-base16', hash.format(notation)]);
      assert.equal(converted, hash.format('base16', { prefix: false }));
    }
  });
}

for (const { name, make } of hardTrees.slice(0, 10)) {
  test(`'nix hash path' of ${name} is the hash of our archive`, async (t) => {
    if (!needsComponent(t, 'nix')) return;
    await using scratch = await makeScratch('hash');
    await using nix = await Nix.create();
    await make(scratch.join('tree'));
    const { hash } = await hashStream('sha256', writeNar(scratch.join('tree')));
    assert.equal(hash.format('sri'), await nix.run('nix', ['hash', 'path', scratch.join('tree')]));
  });
}
