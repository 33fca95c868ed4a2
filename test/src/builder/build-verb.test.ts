// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are placeholders of the Nix language
import assert from 'node:assert/strict';
import { chmod, readFile, readlink, rm } from 'node:fs/promises';
import { test } from 'node:test';
import { needsComponent } from '../engines/components.js';
import { Nix } from '../oracle/nix.js';
import { tryProgram } from '../oracle/program.js';
import { prelude } from './derivation-kinds.js';
import { buildWithLarder, larderExecutable } from './larder-build.js';

const settings = { sandbox: 'true', 'sandbox-paths': '/bin /lib /lib64 /usr', 'max-jobs': '4' };

async function createStore(): Promise<Nix> {
  const store = await Nix.create({ settings });
  await chmod(store.scratch.path, 0o755);
  return store;
}

function larder(store: Nix, args: readonly string[]) {
  const [verb = '', ...rest] = args;
  const options = Object.entries(settings).flatMap(([key, value]) => ['--option', `${key}=${value}`]);
  return tryProgram(
    process.execPath,
    [larderExecutable, verb, '--store', `local?root=${store.root}`, ...options, ...rest],
    {
      env: store.environment,
      cwd: store.scratch.path,
    },
  );
}

test('build prints outputs and links to them, and the links are roots for Nix too', async (t) => {
  if (!needsComponent(t, 'nix') || !needsComponent(t, 'sandbox')) return;
  await using store = await createStore();
  const [derivation = ''] = await store.instantiate(
    `let ${prelude} in sh "echo $dev > $out; echo x > $dev" { outputs = [ "out" "dev" ]; }`,
  );
  const result = await larder(store, ['build', derivation]);
  assert.equal(result.status, 0, result.stderr);
  const outputs = (await store.run('nix-store', ['--query', '--outputs', derivation])).split('\n').sort();
  assert.deepEqual(result.stdout.toString().trim().split('\n').sort(), outputs);
  const links = await Promise.all(['result', 'result-dev'].map((link) => readlink(store.scratch.join(link))));
  assert.deepEqual(links.sort(), outputs);
  assert.match(await store.run('nix-store', ['--gc', '--print-roots']), /result-dev -> /);
  await store.run('nix-store', ['--gc']);
  assert.equal((await store.pathInfo(...outputs)).length, 2);
  for (const link of ['result', 'result-dev']) await rm(store.scratch.join(link));
  await store.run('nix-store', ['--gc']);
  assert.notEqual((await store.try('nix-store', ['--check-validity', ...outputs])).status, 0);
});

test('one output is built for one that is asked for; --dry-run only tells', async (t) => {
  if (!needsComponent(t, 'nix') || !needsComponent(t, 'sandbox')) return;
  await using store = await createStore();
  const [derivation = ''] = await store.instantiate(
    `let ${prelude} in sh "echo ${'$'}{above} > $out; echo x > $dev" { outputs = [ "out" "dev" ]; }`,
  );
  const plan = await larder(store, ['build', '--dry-run', derivation]);
  assert.equal(plan.status, 0, plan.stderr);
  assert.match(
    plan.stdout.toString(),
    /these 3 derivations will be built:\n {2}.*-dep\.drv\n {2}.*-above\.drv\n {2}.*-kind\.drv\n/,
  );
  assert.notEqual(
    (await store.try('nix-store', ['--check-validity', derivation.replace('.drv', '')])).status,
    0,
  );
  const result = await larder(store, ['build', '--no-out-link', `${derivation}!dev`]);
  assert.equal(result.status, 0, result.stderr);
  assert.match(result.stdout.toString(), /^\S+-kind-dev\n$/);
});

test('--check finds what is not deterministic, as Nix does, and accepts what is', async (t) => {
  if (!needsComponent(t, 'nix') || !needsComponent(t, 'sandbox')) return;
  await using store = await createStore();
  const [steady = '', random = ''] = await store.instantiate(
    `let ${prelude} in [ (sh "echo $out > $out" {}) (sh "mkdir $out; echo same > $out/same; (echo 012345678; cat /proc/sys/kernel/random/uuid) > $out/uuid" { name = "random"; }) ]`,
  );
  for (const derivation of [steady, random])
    assert.equal((await larder(store, ['build', derivation])).status, 0);
  const same = await larder(store, ['build', '--check', '--no-out-link', steady]);
  assert.equal(same.status, 0, same.stderr);
  const differs = await larder(store, ['build', '--check', '--keep-failed', '--no-out-link', random]);
  assert.equal(differs.status, 1);
  assert.match(
    differs.stderr,
    /may not be deterministic: output '.*-random' differs from '.*-random\.check'/,
  );
  // Which file differs, and from where on; the first digits of the uuid may be the same by chance.
  assert.match(differs.stderr, /\.check':\n {2}uuid differs from byte 1\d on$/m);
  assert.doesNotMatch(differs.stderr, /same/);
  const theirs = await store.try('nix-store', ['--realise', '--check', random]);
  assert.notEqual(theirs.status, 0);
});

test('--keep-going builds all that can be; without it the first failure ends the rest', async (t) => {
  if (!needsComponent(t, 'nix') || !needsComponent(t, 'sandbox')) return;
  await using store = await createStore();
  const expression = (seed: string, seconds: number) =>
    `let ${prelude} in sh "cat \${sh "exit 1" { name = "fails${seed}"; }} \${
    sh "sleep ${seconds}; echo > $out" { name = "slow${seed}"; }}" {}`;
  const [first = ''] = await store.instantiate(expression('1', 60));
  const started = performance.now();
  const stopped = await larder(store, ['build', first]);
  assert.equal(stopped.status, 1);
  assert.ok(performance.now() - started < 30_000, 'the slow build was cancelled');
  assert.match(stopped.stderr, /builder for '.*-fails1\.drv' failed with exit code 1/);
  assert.match(stopped.stderr, /1 dependencies of derivation '.*-kind\.drv' failed to build/);
  const [second = ''] = await store.instantiate(expression('2', 1));
  const going = await larder(store, ['build', '--keep-going', second]);
  assert.equal(going.status, 1);
  assert.match(await store.run('nix', ['path-info', '--all']), /-slow2$/m);
});

test('logs are where Nix keeps them: both read what either wrote', async (t) => {
  if (!needsComponent(t, 'nix') || !needsComponent(t, 'sandbox')) return;
  await using store = await createStore();
  const [ours = '', theirs = ''] = await store.instantiate(
    `let ${prelude} in [ (sh "seq 1000; echo > $out" { name = "ours"; }) (sh "seq 500; echo > $out" { name = "theirs"; }) ]`,
  );
  const built = await larder(store, ['build', '--no-out-link', ours]);
  assert.equal(built.status, 0, built.stderr);
  await store.run('nix-store', ['--realise', theirs]);
  const numbers = (count: number) => Array.from({ length: count }, (_, index) => `${index + 1}\n`).join('');
  for (const [derivation, count] of [
    [ours, 1000],
    [theirs, 500],
  ] as const) {
    const log = await larder(store, ['log', derivation]);
    assert.equal(log.stdout.toString(), numbers(count), log.stderr);
    assert.equal(await store.run('nix', ['log', derivation]), numbers(count).trimEnd());
  }
});

test('the failed build of a program that says why shows the end of its log, and keeps its directory when told to', async (t) => {
  if (!needsComponent(t, 'nix') || !needsComponent(t, 'sandbox')) return;
  await using store = await createStore();
  const [derivation = ''] = await store.instantiate(
    `let ${prelude} in sh "echo made > file; seq 30; exit 7" {}`,
  );
  const result = await larder(store, ['build', '--keep-failed', derivation]);
  assert.equal(result.status, 1);
  assert.match(
    result.stderr,
    /failed with exit code 7;\nlast 10 log lines:\n> 21\n(> \d+\n)+For full logs, run 'larder log /,
  );
  const kept = /keeping build directory '(.+)'/.exec(result.stderr)?.[1] ?? '';
  assert.equal(await readFile(`${kept}/file`, 'utf8'), 'made\n');
});

test('a store in its own place builds without a sandbox, also what has valid outputs already', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using store = await Nix.create({ settings: { sandbox: 'false' }, storeDir: 'diverted' });
  const [derivation = '', random = ''] = await store.instantiate(
    `let ${prelude} in [ (sh "mkdir $out; echo $out $dev ${'$'}{dep} > $out/self; echo own > $dev" { outputs = [ "out" "dev" ]; })
       (sh "cat /proc/sys/kernel/random/uuid > $out" { name = "random"; }) ]`,
  );
  const plain = { sandbox: 'false' };
  const built = await buildWithLarder(store, [derivation, random], plain);
  assert.equal(built.status, 0, built.stderr);
  const checked = await buildWithLarder(store, ['--check', derivation], plain);
  assert.equal(checked.status, 0, checked.stderr);
  const theirs = await store.try('nix-store', ['--realise', '--check', derivation]);
  assert.equal(theirs.status, 0, theirs.stderr);
  assert.equal((await buildWithLarder(store, ['--check', random], plain)).status, 1);
  const verified = await store.try('nix-store', ['--verify', '--check-contents']);
  assert.doesNotMatch(verified.stderr, /error|modified|disappeared/);
});

test('expressions are instantiated and built, also those that read what another one builds', async (t) => {
  if (!needsComponent(t, 'nix') || !needsComponent(t, 'sandbox')) return;
  await using store = await createStore();
  const expression = `let ${prelude} in { seed ? "x" }: {
    read = sh "echo \${builtins.readFile (sh "echo -n \${seed} > $out" { name = "seed"; })} > $out; echo dev > $dev" { outputs = [ "dev" "out" ]; };
    plain = dep;
  }`;
  const args = ['--argstr', 'seed=read', '-A', 'read', '-A', 'plain', '-A', 'read.out'];
  const result = await larder(store, ['build', '-E', expression, ...args]);
  assert.equal(result.status, 0, result.stderr);
  const names = result.stdout
    .toString()
    .trim()
    .split('\n')
    .map((path) => path.slice('/nix/store/'.length + 33));
  assert.deepEqual(names, ['kind-dev', 'dep', 'kind']);
  const links = ['result-dev', 'result-2', 'result'].map((link) => readlink(store.scratch.join(link)));
  assert.deepEqual(await Promise.all(links), result.stdout.toString().trim().split('\n'));
  const theirs = await store.try('nix-build', [
    '-E',
    expression,
    '--argstr',
    'seed',
    'read',
    '-A',
    'read.out',
    '--no-out-link',
  ]);
  assert.equal(theirs.stdout.toString().trim(), result.stdout.toString().trim().split('\n')[2]);
  assert.doesNotMatch(theirs.stderr, /^building/m);
});
