import assert from 'node:assert/strict';
import { cp, readFile, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { parseHash } from '@larder/signing/hash';
import { SecretKey } from '@larder/signing/key';
import { formatNarInfo, parseNarInfo } from '@larder/signing/narinfo';
import type { PathInfo } from '@larder/signing/path-info';
import { storePathHashPart } from '@larder/signing/store-path';
import { signPathInfo, TrustedKeys } from '@larder/signing/trust';
import { makeClosure } from '../closures/closure.js';
import { importClosure } from '../closures/nix-import.js';
import { needsComponent } from '../engines/components.js';
import { Nix, type NixPathInfo } from '../oracle/nix.js';
import { defaultStoreDir } from '../store-dir.js';

test('a key that Nix makes is read, and its public half is the one Nix shows', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using nix = await Nix.create();
  const secret = await nix.run('nix', ['key', 'generate-secret', '--key-name', 'cache.example.org-1']);
  const key = SecretKey.parse(secret);
  assert.equal(key.format(), secret);
  const shown = await nix.run('nix', ['key', 'convert-secret-to-public'], { input: secret });
  assert.equal(key.publicKey().format(), shown);
});

test('the key files of nix-store --generate-binary-cache-key are read', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using nix = await Nix.create();
  const [secretFile, publicFile] = [nix.scratch.join('secret'), nix.scratch.join('public')];
  await nix.run('nix-store', ['--generate-binary-cache-key', 'old-1', secretFile, publicFile]);
  const key = SecretKey.parse(await readFile(secretFile, 'utf8'));
  assert.equal(key.publicKey().format(), (await readFile(publicFile, 'utf8')).trim());
});

test('a key of ours is read by Nix', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using nix = await Nix.create();
  const key = SecretKey.generate('ours-1');
  const shown = await nix.run('nix', ['key', 'convert-secret-to-public'], { input: key.format() });
  assert.equal(shown, key.publicKey().format());
});

test('signatures that Nix makes verify here, and are the very ones we make', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using nix = await Nix.create();
  const paths = await importClosure(nix, await makeClosure(nix.scratch.join('trees'), { seed: 'sign' }));
  const key = SecretKey.generate('shared-1');
  await writeFile(nix.scratch.join('key'), key.format());
  await nix.run('nix', ['store', 'sign', '--key-file', nix.scratch.join('key'), ...paths]);
  const trusted = new TrustedKeys([key.publicKey()]);
  for (const theirs of await nix.pathInfo(...paths)) {
    const info = readPathInfo(theirs);
    assert.deepEqual(trusted.verify(info, defaultStoreDir), ['shared-1']);
    const ours = signPathInfo({ ...info, signatures: [] }, [key], defaultStoreDir);
    assert.deepEqual(ours.signatures, theirs.signatures);
    const larger = { ...info, narSize: info.narSize + 1 };
    assert.deepEqual(trusted.verify(larger, defaultStoreDir), []);
  }
});

test('Nix verifies signatures that we make, and misses those that are not ours', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using nix = await Nix.create();
  const objects = await makeClosure(nix.scratch.join('trees'), { seed: 'verify', paths: 5 });
  const paths = await importClosure(nix, objects);
  const cache = nix.scratch.join('cache-of-files');
  await nix.run('nix', ['copy', '--to', `file://${cache}`, ...paths]);
  const key = SecretKey.generate('ours-1');
  const signed = nix.scratch.join('signed');
  await cp(cache, signed, { recursive: true });
  for (const { storePath } of objects) {
    const file = `${signed}/${storePathHashPart(storePath)}.narinfo`;
    const info = parseNarInfo(await readFile(file, 'utf8'), defaultStoreDir);
    const text = formatNarInfo(signPathInfo(info, [key], defaultStoreDir), defaultStoreDir);
    await writeFile(file, text);
  }
  const good = await nix.fetchFresh(`file://${signed}`, key.publicKey().format(), paths);
  assert.equal(good.status, 0, good.stderr);
  const unsigned = await nix.fetchFresh(`file://${cache}`, key.publicKey().format(), paths);
  assert.match(unsigned.stderr, /lacks a (valid )?signature/);
  const other = SecretKey.generate('ours-1');
  const wrong = await nix.fetchFresh(`file://${signed}`, other.publicKey().format(), paths);
  assert.match(wrong.stderr, /lacks a (valid )?signature/);
});

function readPathInfo(info: NixPathInfo): PathInfo {
  return {
    storePath: defaultStoreDir.parse(info.path),
    narHash: parseHash(info.narHash),
    narSize: info.narSize,
    references: info.references.map((path) => defaultStoreDir.parse(path)).sort(),
    signatures: info.signatures ?? [],
  };
}
