import assert from 'node:assert/strict';
import { test } from 'node:test';
import { needsComponent } from '../engines/components.js';
import { makeScratch } from '../engines/scratch.js';
import { Nix } from '../oracle/nix.js';
import { defaultStoreDir } from '../store-dir.js';
import { makeClosure } from './closure.js';
import { importClosure } from './nix-import.js';

test('a closure is the same for the same seed, and real Nix takes it with all its references', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using scratch = await makeScratch('closure');
  const objects = await makeClosure(scratch.join('one'), { seed: 'a' });
  const again = await makeClosure(scratch.join('two'), { seed: 'a' });
  assert.deepEqual(
    objects.map(({ storePath }) => storePath),
    again.map(({ storePath }) => storePath),
  );
  await using nix = await Nix.create();
  const paths = await importClosure(nix, objects);
  const top = paths.at(-1) ?? '';
  const requisites = await nix.run('nix-store', ['--query', '--requisites', top]);
  assert.deepEqual(requisites.split('\n').sort(), [...paths].sort());
  const [info] = await nix.pathInfo(top);
  const expected = objects.at(-1)?.references.map((reference) => defaultStoreDir.format(reference));
  assert.deepEqual([...(info?.references ?? [])].sort(), expected?.sort());
  await nix.run('nix-store', ['--verify', '--check-contents']);
});
