import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { needsComponent } from '../engines/components.js';
import { larder } from '../oracle/larder.js';
import { Nix } from '../oracle/nix.js';

/** A path that nobody signed and whose name does not prove it, in a store of Nix's. */
async function buildSomething(nix: Nix): Promise<string> {
  const [drv = ''] = await nix.instantiate(
    'derivation { name = "d"; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" "echo d > $out" ]; }',
  );
  return nix.run('nix-store', ['--realise', drv]);
}

async function makeKey(nix: Nix, name: string): Promise<{ secret: string; key: string }> {
  const secret = nix.scratch.join(`${name}.secret`);
  const { status, stdout } = await larder(['key', 'generate', '--name', name, '--out', secret]);
  assert.equal(status, 0);
  return { secret, key: stdout.toString().trim() };
}

test('Nix verifies what larder sign signed in a store', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using nix = await Nix.create({ storeDir: 'diverted' });
  const path = await buildSomething(nix);
  const { secret, key } = await makeKey(nix, 'ours-1');
  const verify = [
    'store',
    'verify',
    '--no-contents',
    '--sigs-needed',
    '1',
    '--trusted-public-keys',
    key,
    path,
  ];
  assert.notEqual((await nix.try('nix', verify)).status, 0);

  const signed = await larder(['sign', '--key-file', secret, path], { env: nix.environment });
  assert.equal(signed.status, 0, signed.stderr);
  assert.match(signed.stderr, /signed 1 of 1 paths as ours-1/);
  assert.equal((await nix.try('nix', verify)).status, 0);

  const again = await larder(['sign', '--key-file', secret, path], { env: nix.environment });
  assert.match(again.stderr, /signed 0 of 1 paths as ours-1, 1 had been signed before/);
});

test('Nix accepts what larder sign signed in a cache, beside the signature that was there', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using nix = await Nix.create({ storeDir: 'diverted' });
  const path = await buildSomething(nix);
  const [first, second] = [await makeKey(nix, 'first-1'), await makeKey(nix, 'second-1')];
  const cache = `file://${nix.scratch.join('cache-files')}`;
  await nix.run('nix', ['copy', '--to', `${cache}?secret-key=${first.secret}`, path]);
  const signed = await larder(['sign', '-k', second.secret, '--store', cache, path], {
    env: nix.environment,
  });
  assert.equal(signed.status, 0, signed.stderr);
  for (const { key } of [first, second]) {
    const args = [
      'store',
      'verify',
      '--store',
      cache,
      '--sigs-needed',
      '1',
      '--trusted-public-keys',
      key,
      path,
    ];
    const { status, stderr } = await nix.try('nix', args);
    assert.equal(status, 0, stderr);
  }
});

test('refuses a key file that is none, and paths that are not there', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using nix = await Nix.create({ storeDir: 'diverted' });
  const path = await buildSomething(nix);
  const { secret } = await makeKey(nix, 'ours-1');
  await writeFile(nix.scratch.join('public'), (await readFile(secret, 'utf8')).slice(0, 40));
  const { environment: env } = nix;
  assert.match(
    (await larder(['sign', '-k', nix.scratch.join('public'), path], { env })).stderr,
    /secret key/,
  );
  const absent = `${nix.storeDir.path}/${'0'.repeat(32)}-absent`;
  const { status, stderr } = await larder(['sign', '-k', secret, absent], { env });
  assert.equal(status, 1);
  assert.match(stderr, /does not have 0{32}-absent/);
  assert.equal((await larder(['sign', path], { env })).status, 2);
});
