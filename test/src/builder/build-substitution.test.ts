// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are placeholders of the Nix language
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { chmod, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { needsComponent } from '../engines/components.js';
import { Nix } from '../oracle/nix.js';
import { prelude } from './derivation-kinds.js';
import { buildWithLarder } from './larder-build.js';

const settings = { sandbox: 'true', 'sandbox-paths': '/bin /lib /lib64 /usr' };
const expression = `let ${prelude} in sh "mkdir $out; ln -s ${'${above}'} $out/above; cat ${'${text}'} > $out/text" { inherit other; }`;

async function createStore(): Promise<Nix> {
  const store = await Nix.create({ settings });
  await chmod(store.scratch.path, 0o755);
  return store;
}

/** A store in which stock Nix built everything, and a cache in a directory with all of it. */
async function fillCache(store: Nix): Promise<{ cache: string; derivation: string; output: string }> {
  const [derivation = ''] = await store.instantiate(expression);
  const output = await store.run('nix-store', ['--realise', derivation]);
  const cache = `file://${store.scratch.join('binary-cache')}`;
  await store.run('nix', ['copy', '--to', `${cache}?compression=xz`, output]);
  return { cache, derivation, output };
}

test('what a cache has is fetched, and its inputs are not looked at', async (t) => {
  if (!needsComponent(t, 'nix') || !needsComponent(t, 'sandbox')) return;
  await using nix = await createStore();
  await using store = await createStore();
  const { cache, output } = await fillCache(nix);
  const [derivation = ''] = await store.instantiate(expression);
  const caches = { ...settings, substituters: cache, 'require-sigs': 'false' };
  const plan = await buildWithLarder(store, ['--dry-run', derivation], caches);
  assert.match(plan.stdout.toString(), /these 3 paths will be fetched \(.* MiB download, .* MiB unpacked\):/);
  assert.doesNotMatch(plan.stdout.toString(), /will be built/);
  const result = await buildWithLarder(store, [derivation], caches);
  assert.equal(result.status, 0, result.stderr);
  assert.doesNotMatch(result.stderr, /^building/m);
  assert.match(await store.run('nix-store', ['--verify-path', output]), /^$/);
  assert.notEqual((await store.try('nix', ['path-info', ...(await pathsNamed(nix, 'other'))])).status, 0);
});

test('unsigned paths are built rather than fetched where signatures are wanted', async (t) => {
  if (!needsComponent(t, 'nix') || !needsComponent(t, 'sandbox')) return;
  await using nix = await createStore();
  await using store = await createStore();
  const { cache, output } = await fillCache(nix);
  const [derivation = ''] = await store.instantiate(expression);
  const result = await buildWithLarder(store, [derivation], { ...settings, substituters: cache });
  assert.equal(result.status, 0, result.stderr);
  assert.match(result.stderr, /^building .*-kind\.drv/m);
  const [ours, theirs] = await Promise.all([store, nix].map((each) => each.pathInfo(output)));
  assert.equal(ours![0]!.narHash, theirs![0]!.narHash);
});

test('a NAR that is gone from the cache is built instead, and the user is told', async (t) => {
  if (!needsComponent(t, 'nix') || !needsComponent(t, 'sandbox')) return;
  await using nix = await createStore();
  await using store = await createStore();
  const { cache, output } = await fillCache(nix);
  const directory = cache.replace('file://', '');
  const narinfo = await readFile(`${directory}/${output.slice('/nix/store/'.length, 43)}.narinfo`, 'utf8');
  await rm(`${directory}/${/^URL: (.*)$/m.exec(narinfo)![1]}`);
  const [derivation = ''] = await store.instantiate(expression);
  const result = await buildWithLarder(store, [derivation], {
    ...settings,
    substituters: cache,
    'require-sigs': 'false',
  });
  assert.equal(result.status, 0, result.stderr);
  assert.match(result.stderr, /cannot fetch .*-kind: .*; trying to build it/);
  assert.match(result.stderr, /^building .*-kind\.drv/m);
});

test('a cache that breaks off is passed over for the next one', async (t) => {
  if (!needsComponent(t, 'nix') || !needsComponent(t, 'sandbox')) return;
  await using nix = await createStore();
  await using store = await createStore();
  const { cache } = await fillCache(nix);
  const directory = cache.replace('file://', '');
  const server = createServer((request, response) => {
    // All but the archives, which it begins and then hangs up.
    const path = `${directory}${request.url}`;
    if (!existsSync(path)) {
      response.writeHead(404).end();
      return;
    }
    const file = readFileSync(path);
    if (request.url!.startsWith('/nar/')) {
      response.writeHead(200, { 'content-length': file.length });
      response.write(file.subarray(0, file.length / 2), () => response.destroy());
    } else response.end(file);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    const broken = `http://127.0.0.1:${(server.address() as AddressInfo).port}?priority=1`;
    const [derivation = ''] = await store.instantiate(expression);
    const caches = {
      ...settings,
      substituters: `${broken} ${cache}`,
      'require-sigs': 'false',
      'download-attempts': '1',
    };
    const result = await buildWithLarder(store, [derivation], caches);
    assert.equal(result.status, 0, result.stderr);
    assert.doesNotMatch(result.stderr, /^building/m);
  } finally {
    server.close();
    server.closeAllConnections();
  }
});

test('a cache filled by our builder serves stock Nix, which then builds nothing', async (t) => {
  if (!needsComponent(t, 'nix') || !needsComponent(t, 'sandbox')) return;
  await using ours = await createStore();
  await using theirs = await createStore();
  const [derivation = ''] = await ours.instantiate(expression);
  await theirs.instantiate(expression);
  const secretKey = ours.scratch.join('key');
  await ours.run('nix-store', ['--generate-binary-cache-key', 'builder-1', secretKey, `${secretKey}.pub`]);
  await writeFile(`${secretKey}.conf`, '');
  const built = await buildWithLarder(ours, [derivation], { ...settings, 'secret-key-files': secretKey });
  assert.equal(built.status, 0, built.stderr);
  const output = built.stdout.toString().trim();
  const cache = `file://${ours.scratch.join('binary-cache')}`;
  await ours.run('nix', ['copy', '--to', cache, output]);
  const trust = ['--option', 'trusted-public-keys', await readFile(`${secretKey}.pub`, 'utf8')];
  const result = await theirs.try('nix-store', [
    '--realise',
    derivation,
    '--option',
    'substituters',
    cache,
    ...trust,
  ]);
  assert.equal(result.status, 0, result.stderr);
  assert.doesNotMatch(result.stderr, /^building/m);
  assert.ok((await readdir(ours.scratch.join('binary-cache'))).length > 3);
});

async function pathsNamed(store: Nix, name: string): Promise<string[]> {
  const all = (await store.run('nix', ['path-info', '--all'])).split('\n');
  return all.filter((path) => path.endsWith(`-${name}`));
}
