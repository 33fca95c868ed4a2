import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeClosure } from '../closures/closure.js';
import { importClosure } from '../closures/nix-import.js';
import { needsComponent } from '../engines/components.js';
import { Nix } from '../oracle/nix.js';
import { TestServer } from './running.js';

test('what Nix made content-addressed, self-references and all, proves itself to the server', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using nix = await Nix.create();
  await using server = await TestServer.start();
  const objects = await makeClosure(nix.scratch.join('trees'), { seed: 'content-addressed', paths: 6 });
  assert.ok(objects.some((object) => object.references.includes(object.storePath)));
  const paths = await importClosure(nix, objects);
  const rewritten = JSON.parse(
    await nix.run('nix', ['store', 'make-content-addressed', '--json', ...paths]),
  ) as { rewrites: Record<string, string> };
  const addressed = Object.values(rewritten.rewrites);
  assert.equal(addressed.length, objects.length);
  await nix.login(server.token);
  await nix.run('nix', ['copy', '--to', `${server.url}/main`, ...addressed]);
  for (const path of addressed) {
    const hashPart = path.slice('/nix/store/'.length).slice(0, 32);
    const text = await (await server.fetch(`/main/${hashPart}.narinfo`)).text();
    assert.match(text, /^CA: fixed:r:sha256:/m, path);
  }
});

test('derivations and flat files that Nix added prove themselves to the server', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using nix = await Nix.create();
  await using server = await TestServer.start();
  const [drv] = await nix.instantiate(
    'derivation { name = "x"; system = "x"; builder = builtins.toFile "b" "hello"; args = [ (derivation { name = "y"; system = "x"; builder = "z"; }) ]; }',
  );
  const flat = await nix.run('nix-store', ['--add-fixed', 'sha256', new URL(import.meta.url).pathname]);
  const sha1 = await nix.run('nix-store', [
    '--add-fixed',
    '--recursive',
    'sha1',
    new URL(import.meta.url).pathname,
  ]);
  await nix.login(server.token);
  const to = ['copy', '--to', `${server.url}/main`];
  await nix.run('nix', [...to, '--derivation', drv ?? '']);
  await nix.run('nix', [...to, flat, sha1]);
  for (const [path, address] of [
    [drv ?? '', 'text:sha256'],
    [flat, 'fixed:sha256'],
    [sha1, 'fixed:r:sha1'],
  ] as const) {
    const text = await (await server.fetch(`/main/${path.slice(11, 43)}.narinfo`)).text();
    assert.match(text, new RegExp(`^CA: ${address}:`, 'm'), path);
  }
});
