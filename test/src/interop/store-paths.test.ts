import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { test } from 'node:test';
import {
  formatContentAddress,
  makeContentAddressedPath,
  makeTextPath,
  parseContentAddress,
} from '@larder/signing/content-address';
import { computeHash, type Hash, hashAlgorithms, hashStream } from '@larder/signing/hash';
import { writeNar } from '@larder/signing/nar-writer';
import { isStoreName, storePathName } from '@larder/signing/store-path';
import { makeClosure } from '../closures/closure.js';
import { importClosure } from '../closures/nix-import.js';
import { needsComponent } from '../engines/components.js';
import { Nix } from '../oracle/nix.js';
import { defaultStoreDir } from '../store-dir.js';
import { hardTrees } from '../trees.js';

const full = (storePath: Parameters<typeof defaultStoreDir.format>[0]): string =>
  defaultStoreDir.format(storePath);

async function archiveHash(path: string): Promise<Hash> {
  return (await hashStream('sha256', writeNar(path))).hash;
}

for (const { name, make } of hardTrees.slice(0, 9)) {
  test(`the source path of ${name} is that of nix-store --add`, async (t) => {
    if (!needsComponent(t, 'nix')) return;
    await using nix = await Nix.create();
    const tree = nix.scratch.join('a-source_1.0');
    await make(tree);
    const hash = await archiveHash(tree);
    const ours = makeContentAddressedPath(defaultStoreDir, basename(tree), { method: 'recursive', hash });
    assert.deepEqual([full(ours)], await nix.add(tree));
  });
}

test('fixed-output paths are those of nix-store --add-fixed, for every algorithm, flat and recursive', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using nix = await Nix.create();
  const file = nix.scratch.join('fetched.tar.gz');
  await writeFile(file, 'not really compressed');
  for (const algorithm of hashAlgorithms) {
    const flat = computeHash(algorithm, 'not really compressed');
    const recursive = (await hashStream(algorithm, writeNar(file))).hash;
    for (const [method, hash, options] of [
      ['flat', flat, []],
      ['recursive', recursive, ['--recursive']],
    ] as const) {
      const ours = makeContentAddressedPath(defaultStoreDir, 'fetched.tar.gz', { method, hash });
      const theirs = await nix.run('nix-store', ['--add-fixed', ...options, algorithm, file]);
      assert.equal(full(ours), theirs, `${method} ${algorithm}`);
      const [info] = await nix.pathInfo(theirs);
      assert.equal(info?.ca, formatContentAddress({ method, hash }));
      assert.deepEqual(parseContentAddress(info?.ca ?? ''), { method, hash });
    }
  }
});

test('text paths with references are those of builtins.toFile', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using nix = await Nix.create();
  const evaluate = (expression: string) =>
    nix.run('nix-instantiate', ['--eval', '--strict', '--json', '-E', expression]);
  const inner = makeTextPath(defaultStoreDir, 'inner', { hash: computeHash('sha256', 'inside') });
  const text = `see ${full(inner)}`;
  const outer = makeTextPath(defaultStoreDir, 'outer', {
    hash: computeHash('sha256', text),
    references: [inner],
  });
  const theirs = await evaluate('builtins.toFile "outer" ("see " + builtins.toFile "inner" "inside")');
  assert.equal(full(outer), JSON.parse(theirs));
});

test("paths with references and to themselves are those of 'nix store make-content-addressed'", async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using nix = await Nix.create();
  const objects = await makeClosure(nix.scratch.join('trees'), { seed: 'rewrite', paths: 8 });
  const paths = await importClosure(nix, objects);
  const json = await nix.run('nix', ['store', 'make-content-addressed', '--json', '--recursive', ...paths]);
  const { rewrites } = JSON.parse(json) as { rewrites: Record<string, string> };
  const infos = await nix.pathInfo(...Object.values(rewrites));
  assert.equal(infos.length, objects.length);
  assert.ok(
    infos.some((info) => info.references.includes(info.path)),
    'one of them should refer to itself',
  );
  for (const info of infos) {
    const storePath = defaultStoreDir.parse(info.path);
    const references = info.references.map((path) => defaultStoreDir.parse(path));
    const ours = makeContentAddressedPath(defaultStoreDir, storePathName(storePath), {
      ...parseContentAddress(info.ca ?? ''),
      references: references.filter((path) => path !== storePath),
      self: references.includes(storePath),
    });
    assert.equal(full(ours), info.path);
  }
});

const names = [
  'a',
  'a b',
  'ä',
  'a'.repeat(211),
  'a'.repeat(212),
  '.hidden',
  '..',
  '.',
  '-',
  'a+b-c._?=',
  'a/b',
  'a~b',
  '.-x',
  '..x',
];
for (const name of names) {
  test(`'${name.slice(0, 12)}' (${name.length}) names a store object exactly when Nix lets it`, async (t) => {
    if (!needsComponent(t, 'nix')) return;
    await using nix = await Nix.create();
    const { status } = await nix.try('nix-instantiate', [
      ...['--eval', '--strict', '-E', '{ name }: builtins.toFile name ""', '--argstr', 'name', name],
    ]);
    // Nix 2.8 takes names that newer ones refuse: a leading dot is allowed again since 2.20, but for '.' and '..'.
    const newer = name.startsWith('.') ? isStoreName(name) : status === 0;
    assert.equal(isStoreName(name), newer);
  });
}
