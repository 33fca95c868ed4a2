import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { needsComponent } from '../engines/components.js';
import { larder } from '../oracle/larder.js';
import { Nix } from '../oracle/nix.js';

/** Two builds, one of which refers to the other, in a cache signed by `key`; gone from the store they came from. */
async function makeCache(nix: Nix): Promise<{ paths: readonly string[]; cache: string; key: string }> {
  const shell = (name: string, script: string): string =>
    `derivation { name = "${name}"; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" "${script}" ]; }`;
  const lower = shell('lower', 'echo lower > $out');
  const upper = shell('upper', `echo \${${lower}} > $out`);
  const drvs = await nix.instantiate(`[ (${lower}) (${upper}) ]`);
  const paths = (await nix.run('nix-store', ['--realise', ...drvs])).split('\n');
  const [secret, key] = [nix.scratch.join('secret'), nix.scratch.join('public')];
  await nix.run('nix-store', ['--generate-binary-cache-key', 'test-1', secret, key]);
  const cache = `file://${nix.scratch.join('cache-files')}`;
  await nix.run('nix', ['copy', '--to', `${cache}?secret-key=${secret}`, ...paths]);
  await nix.run('nix-store', ['--delete', ...paths]);
  return { paths, cache, key: (await readFile(key, 'utf8')).trim() };
}

test("copies through Nix's daemon, which checks signatures itself", async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using nix = await Nix.create({ storeDir: 'diverted' });
  const { paths, cache, key } = await makeCache(nix);
  const socket = nix.scratch.join('daemon.socket');
  const store = `unix://${socket}`;
  const args = ['copy', '--from', cache, '--to', store, '--trusted-public-keys', key, ...paths];
  const { environment } = nix;
  {
    await using distrustful = await nix.startDaemon();
    assert.equal(distrustful.socket, socket);
    const refused = await larder(args, { env: environment });
    assert.equal(refused.status, 1);
    assert.match(refused.stderr, /the Nix daemon: cannot add path .* lacks a (valid )?signature/);
  }
  await nix.configure({ 'trusted-public-keys': key });
  await using daemon = await nix.startDaemon();
  assert.equal(daemon.socket, socket);
  const copied = await larder(args, { env: environment });
  assert.equal(copied.status, 0, copied.stderr);
  for (const path of paths) assert.match(await nix.run('nix-store', ['--query', '--hash', path]), /^sha256:/);
  await nix.run('nix-store', ['--verify', '--check-contents']);
  const [lower = '', upper = ''] = paths;
  assert.equal(await nix.run('nix-store', ['--query', '--references', upper]), lower);

  // And back out of it.
  const verified = await larder(['verify', '--all', '--no-trust', '--store', store], {
    env: environment,
  });
  assert.equal(verified.status, 0, verified.stderr);
});

test("asks Nix's daemon what the store has, with the answers of nix-store", async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using nix = await Nix.create({ storeDir: 'diverted' });
  const [drv = ''] = await nix.instantiate(
    'let a = builtins.toFile "a" "a"; in derivation { name = "d"; system = "x"; builder = "b"; inherit a; }',
  );
  await using daemon = await nix.startDaemon();
  for (const question of [
    '--references',
    '--requisites',
    '--referrers-closure',
    '--outputs',
    '--hash',
    '--size',
  ]) {
    const ours = await larder(['store', 'query', '--store', `unix://${daemon.socket}`, question, drv], {
      env: nix.environment,
    });
    assert.equal(ours.status, 0, ours.stderr);
    assert.deepEqual(
      ours.stdout.toString().trim().split('\n').sort(),
      (await nix.run('nix-store', ['--query', question, drv])).split('\n').sort(),
      question,
    );
  }
});

test("adds a tree through Nix's daemon under the path nix-store gives it", async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using nix = await Nix.create({ storeDir: 'diverted' });
  const tree = nix.scratch.join('tree');
  await mkdir(tree);
  await writeFile(`${tree}/file`, 'x'.repeat(1_000_000));
  await using daemon = await nix.startDaemon();
  const added = await larder(['store', 'add', '--store', `unix://${daemon.socket}`, tree], {
    env: nix.environment,
  });
  assert.equal(added.status, 0, added.stderr);
  const path = added.stdout.toString().trim();
  assert.match(await nix.run('nix-store', ['--query', '--hash', path]), /^sha256:/);
  assert.deepEqual(await nix.add(tree), [path]);
});

test('a daemon that is not there is named', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using nix = await Nix.create({ storeDir: 'diverted' });
  const { status, stderr } = await larder(['store', 'query', '--all', '--store', 'unix:///nowhere/socket'], {
    env: nix.environment,
  });
  assert.equal(status, 1);
  assert.match(stderr, /the Nix daemon does not answer at \/nowhere\/socket/);
});
