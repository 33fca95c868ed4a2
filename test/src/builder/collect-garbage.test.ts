// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are placeholders of the Nix language
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, readdir, symlink, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { needsComponent } from '../engines/components.js';
import { Nix } from '../oracle/nix.js';
import { tryProgram } from '../oracle/program.js';
import { prelude } from './derivation-kinds.js';
import { buildWithLarder, larderExecutable } from './larder-build.js';

const settings = { sandbox: 'true', 'sandbox-paths': '/bin /lib /lib64 /usr' };

async function createStore(): Promise<Nix> {
  const store = await Nix.create({ settings });
  await chmod(store.scratch.path, 0o755);
  return store;
}

function gc(store: Nix, ...args: readonly string[]) {
  const command = [larderExecutable, 'gc', '--store', `local?root=${store.root}`, ...args];
  return tryProgram(process.execPath, command, { env: store.environment, cwd: store.scratch.path });
}

async function validPaths(store: Nix): Promise<string[]> {
  const paths = (await store.run('nix', ['path-info', '--all'])).split('\n');
  return paths.filter((path) => path !== '').sort();
}

test('what Larder would delete is what Nix would: all that no root needs', async (t) => {
  if (!needsComponent(t, 'nix') || !needsComponent(t, 'sandbox')) return;
  await using store = await createStore();
  const [kept = '', dropped = ''] = await store.instantiate(
    `let ${prelude} in [ (sh "echo ${'${above}'} > $out" { name = "kept"; }) (sh "echo ${'${other}'} ${'${dep}'} > $out" { name = "dropped"; }) ]`,
  );
  assert.equal((await buildWithLarder(store, [kept, dropped], settings)).status, 0);
  const output = await store.run('nix-store', ['--query', '--outputs', kept]);
  await mkdir(`${store.root}/nix/var/nix/gcroots/mine`, { recursive: true });
  await symlink(output, `${store.root}/nix/var/nix/gcroots/mine/kept`);
  for (const keepOutputs of ['false', 'true']) {
    const theirs = await store.run('nix-store', [
      '--gc',
      '--print-dead',
      '--option',
      'keep-outputs',
      keepOutputs,
    ]);
    const ours = await gc(store, '--dry-run', '--option', `keep-outputs=${keepOutputs}`);
    assert.deepEqual(
      ours.stdout.toString().trim().split('\n').sort(),
      theirs.trim().split('\n').sort(),
      ours.stderr,
    );
  }
  assert.match((await gc(store, '--print-roots')).stdout.toString(), /gcroots\/mine\/kept -> .*-kept\n/);
  const result = await gc(store);
  assert.equal(result.status, 0, result.stderr);
  const names = (await validPaths(store)).map((path) => path.slice('/nix/store/'.length + 33)).sort();
  assert.deepEqual(names, ['above', 'above.drv', 'dep', 'dep.drv', 'kept', 'kept.drv']);
  const verified = await store.try('nix-store', ['--verify', '--check-contents']);
  assert.doesNotMatch(verified.stderr, /error|modified|disappeared/);
  assert.match(await store.run('nix-store', ['--gc', '--print-dead']), /^\s*$/);
});

test('what a running process uses stays, and goes when it has ended', async (t) => {
  if (!needsComponent(t, 'nix') || !needsComponent(t, 'sandbox')) return;
  await using store = await createStore();
  await writeFile(store.scratch.join('file'), 'used\n');
  const [path = ''] = await store.add(store.scratch.join('file'));
  const child = spawn('sleep', ['60'], { env: { USES: `${path}/inside` }, stdio: 'ignore' });
  assert.equal((await gc(store)).status, 0);
  assert.deepEqual(await validPaths(store), [path]);
  child.kill();
  await once(child, 'exit');
  assert.equal((await gc(store)).status, 0);
  assert.deepEqual(await validPaths(store), []);
});

test('a collection while Nix and Larder build takes nothing away from them', async (t) => {
  if (!needsComponent(t, 'nix') || !needsComponent(t, 'sandbox')) return;
  await using store = await createStore();
  const chain = (name: string) => `let ${prelude}
    link = n: if n == 0 then dep else sh "cat ${'${link (n - 1)}'}/* > /dev/null; mkdir $out; echo ${'${link (n - 1)}'} > $out/file; sleep 0.2" { name = "${name}-${'${toString n}'}"; };
    in link 6`;
  const [ours = '', theirs = ''] = [
    ...(await store.instantiate(chain('ours'))),
    ...(await store.instantiate(chain('theirs'))),
  ];
  let building = true;
  for (const [index, derivation] of [ours, theirs].entries()) {
    await symlink(derivation, `${store.root}/nix/var/nix/gcroots/derivation-${index}`);
  }
  const builds = Promise.all([
    buildWithLarder(store, [ours], settings),
    store.try('nix-store', ['--realise', theirs]),
  ]).finally(() => {
    building = false;
  });
  while (building) {
    const collected = await gc(store);
    assert.equal(collected.status, 0, collected.stderr);
  }
  for (const result of await builds) assert.equal(result.status, 0, result.stderr);
});

test('files that a killed build left behind go, and --max-freed stops in time', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using store = await createStore();
  const files = [];
  for (const name of ['a', 'b', 'c']) {
    await writeFile(store.scratch.join(name), name.repeat(200_000));
    files.push(store.scratch.join(name));
  }
  await store.add(...files);
  const leftover = `${'0'.repeat(32)}-left.drv.chroot`;
  await mkdir(`${store.realStoreDir}/${leftover}`);
  const first = await gc(store, '--max-freed', '100K');
  assert.equal(first.status, 0, first.stderr);
  assert.equal((await validPaths(store)).length, 2);
  assert.equal((await gc(store)).status, 0);
  assert.deepEqual(await readdir(store.realStoreDir), ['.links']);
});
