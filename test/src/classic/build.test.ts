import { strict as assert } from 'node:assert';
import { readdir, readlink, rm, stat, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { needsComponent } from '../engines/components.js';
import { Nix } from '../oracle/nix.js';
import { assertSame, expressions, ours, runOurs } from './tools.js';

async function openStore(): Promise<{ nix: Nix; file: string }> {
  const nix = await Nix.create({ storeDir: 'diverted' });
  const file = nix.scratch.join('expressions.nix');
  await writeFile(file, expressions);
  return { nix, file };
}

test('nix-build makes what stock nix-build makes, links and all, and either finds what the other built', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  const { nix, file } = await openStore();
  await using _ = nix;
  const link = nix.scratch.join('links/result');
  const attributes = ['-A', 'outputs.dev', '-A', 'outputs', '-A', 'top', '-A', 'leaf'];
  const built = await runOurs(nix, 'nix-build', [file, ...attributes, '-o', link]);
  assert.equal(built.status, 0, built.stderr);
  const lines = built.stdout.toString().trim().split('\n');
  assert.deepEqual(
    await Promise.all(['-dev', '', '-2', '-3'].map((end) => readlink(`${link}${end}`))),
    lines,
  );
  const derivation = await ours(nix, 'nix-store', ['-qd', lines[3]!]);
  assert.match(built.stderr, new RegExp(`^building '${derivation}'\\.\\.\\.\nbuilding leaf\n`, 'm'));
  const again = await assertSame(nix, 'nix-build', [file, ...attributes, '--no-out-link']);
  assert.equal(again.stderr, '');
  assert.equal(again.stdout.toString(), built.stdout.toString());
  assert.match(await nix.run('nix-store', ['--gc', '--print-roots']), new RegExp(`^${link}-2 -> `, 'm'));
  const described = await nix.run('nix-store', ['--dump-db', ...lines]);
  await rm(nix.scratch.join('links'), { recursive: true });
  assert.match(await ours(nix, 'nix-store', ['--gc']), /^\d+ store paths deleted, 0\.\d\d MiB freed$/);
  assert.equal(await nix.run('nix-store', ['--dump-db']), '', 'everything was garbage');
  await nix.run('nix-build', [file, ...attributes, '--no-out-link']);
  assert.equal(await nix.run('nix-store', ['--dump-db', ...lines]), described);
  await assertSame(nix, 'nix-build', [
    await nix.run('nix-instantiate', [file, '-A', 'outputs.dev']),
    '--no-out-link',
  ]);
});

test('failures have the statuses and the messages of nix-build', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  const { nix, file } = await openStore();
  await using _ = nix;
  await nix.run('nix-build', [file, '-A', 'changing', '--no-out-link']);
  for (const [status, ...args] of [
    [100, '-A', 'failing'],
    [100, '-A', 'needing'],
    [100, '-A', 'failing', '-A', 'other', '-k'],
    [102, '-A', 'wrong'],
    [104, '-A', 'changing', '--check'],
    [101, '-A', 'hanging', '--timeout', '1'],
    [100, '-A', 'closing'], // A build is over when nobody can write to its log any more.
    [1, '-A', 'no-such-attribute'],
  ] as const) {
    const got = await assertSame(nix, 'nix-build', [file, '--no-out-link', ...args]);
    assert.equal(got.status, status, `${args.join(' ')}: ${got.stderr}`);
  }
  for (const args of [
    ['-A', 'failing'],
    ['-A', 'needing'],
    ['-A', 'failing', '-Q'],
    ['-A', 'needing', '--dry-run'],
    ['-A', 'changing', '--check'],
  ]) {
    const all = [file, '--no-out-link', ...args];
    const expected = await nix.try('nix-build', all);
    const got = await runOurs(nix, 'nix-build', all);
    assert.equal(got.stderr.replace('nix-store -l', 'nix log'), expected.stderr, args.join(' '));
  }
});

test('settings come from nix.conf, NIX_CONFIG and the command line, under their old names too', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  const { nix, file } = await openStore();
  await using _ = nix;
  const hanging = [file, '-A', 'hanging', '--no-out-link'];
  const env = { NIX_CONFIG: 'build-timeout = 1' };
  assert.equal((await runOurs(nix, 'nix-build', hanging, { env })).status, 101);
  assert.equal((await runOurs(nix, 'nix-build', [...hanging, '--option', 'build-timeout', '1'])).status, 101);
  await nix.configure({ timeout: '1' });
  assert.equal((await runOurs(nix, 'nix-build', hanging)).status, 101);
});

test('an evaluation that asks for the closure of what it has just added finds it', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  const { nix, file } = await openStore();
  await using _ = nix;
  const graph = await ours(nix, 'nix-build', [file, '-A', 'graph', '--no-out-link']);
  assert.equal(graph, await nix.run('nix-build', [file, '-A', 'graph', '--no-out-link']));
});

test('an archive whose hash says that it is in the store is not fetched again', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  const { nix } = await openStore();
  await using _ = nix;
  await writeFile(nix.scratch.join('source'), 'contents');
  const path = await ours(nix, 'nix-store', ['--add', nix.scratch.join('source')]);
  const hash = await nix.run('nix-store', ['-q', '--hash', path]);
  const tree = `fetchTree { type = "tarball"; url = "file:///no-such.tar"; narHash = "${hash}"; }`;
  const found = await ours(nix, 'nix-instantiate', ['--eval', '-E', `(${tree}).outPath`, '--show-trace']);
  assert.equal(found, `"${path}"`);
});

test('nix-instantiate writes roots, and derivations straight into a cache', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  const { nix, file } = await openStore();
  await using _ = nix;
  const root = nix.scratch.join('root/drv');
  assert.equal(
    await ours(nix, 'nix-instantiate', [file, '-A', 'outputs.dev', '--add-root', root]),
    `${root}!dev`,
  );
  const cache = `file://${nix.scratch.join('binary-cache')}`;
  const printed = await ours(nix, 'nix-instantiate', [
    '--store',
    cache,
    file,
    '-A',
    'top',
    '--no-gc-warning',
  ]);
  assert.equal(printed, await nix.run('nix-instantiate', [file, '-A', 'top']));
  await nix.run('nix-store', ['--gc']);
  await nix.run('nix', ['copy', '--derivation', '--from', cache, '--no-check-sigs', printed]);
  assert.ok((await stat(printed)).isFile());
});

test('nix-store -r realises derivations and paths, dry or wet, and makes roots of them', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  const { nix, file } = await openStore();
  await using _ = nix;
  const drv = await nix.run('nix-instantiate', [file, '-A', 'outputs']);
  const absent = `${nix.storeDir.path}/${'a'.repeat(32)}-none`;
  for (const args of [
    ['-r', '--dry-run', drv],
    ['-r', '--dry-run', drv, absent],
    ['-r', '--dry-run', '--ignore-unknown', absent],
  ]) {
    const expected = await nix.try('nix-store', args);
    const got = await assertSame(nix, 'nix-store', args);
    assert.equal(got.stderr, expected.stderr, args.join(' '));
  }
  const root = nix.scratch.join('realised');
  const lines = await ours(nix, 'nix-store', ['-r', drv, '--add-root', root, '--indirect']);
  assert.equal(lines, `${root}\n${root}-dev`);
  assert.equal(lines, await nix.run('nix-store', ['-r', drv, '--add-root', root]));
  await assertSame(nix, 'nix-store', ['-r', `${root}-dev`]);
  await assertSame(nix, 'nix-store', ['-r', absent]);
});

test('what a cache does not deliver is built with --fallback, and else an error, as Nix has it', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  const { nix, file } = await openStore();
  await using _ = nix;
  const cache = nix.scratch.join('binary-cache');
  const path = await nix.run('nix-build', [file, '-A', 'leaf', '--no-out-link']);
  await nix.run('nix', ['copy', '--to', `file://${cache}?compression=none`, path]);
  const fetching = [file, '-A', 'leaf', '--no-out-link', '--substituters', `file://${cache}`];
  const args = [...fetching, '--no-require-sigs'];
  const [archive = ''] = await readdir(`${cache}/nar`);
  await writeFile(`${cache}/nar/${archive}`, 'no archive at all');
  for (const damage of ['too short', 'gone'] as const) {
    await nix.run('nix-store', ['--delete', path]);
    if (damage === 'gone') await rm(`${cache}/nar/${archive}`);
    const got = await assertSame(nix, 'nix-build', args);
    assert.equal(got.status, damage === 'gone' ? 0 : 1, got.stderr);
    if (damage === 'too short') assert.match(got.stderr, /^error: .*leaf.*--fallback/m);
  }
  await writeFile(`${cache}/nar/${archive}`, 'no archive at all');
  await nix.run('nix-store', ['--delete', path]);
  assert.equal(await ours(nix, 'nix-build', [...args, '--fallback']), path);
});

test('--repeat keeps only what came out the same each time', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  const { nix, file } = await openStore();
  await using _ = nix;
  const repeated = [file, '--no-out-link', '--repeat', '2', '-A'];
  const same = await runOurs(nix, 'nix-build', [...repeated, 'leaf']);
  assert.equal(same.status, 0, same.stderr);
  assert.equal(same.stderr.match(/^building leaf$/gm)?.length, 3);
  await nix.run('nix-store', ['--verify-path', same.stdout.toString().trim()]);
  // Too fast a machine may take two rounds for one: the derivation must differ at each.
  const different = `derivation { name = "different"; system = builtins.currentSystem; builder = "/bin/sh";
    args = [ "-c" "read id < /proc/sys/kernel/random/uuid; echo $id > $out" ]; }`;
  const args = ['-E', different, '--no-out-link', '--repeat', '1'];
  const got = await assertSame(nix, 'nix-build', args);
  assert.equal(got.status, 1);
  assert.match(got.stderr, /^error: output '.*-different' of '.*' differs from previous round$/m);
  const kept = await runOurs(nix, 'nix-build', [...args, '--no-enforce-determinism']);
  assert.equal(kept.status, 0, kept.stderr);
  assert.match(kept.stderr, /differs from previous round/);
});

test('with auto-optimise-store, builds without a sandbox share the files they have in common', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  const { nix } = await openStore();
  await using _ = nix;
  const make = `name: derivation { inherit name; system = builtins.currentSystem; builder = "/bin/sh";
    args = [ "-c" "echo the same > $out" ]; }`;
  const paths = await ours(nix, 'nix-build', [
    ...['-E', `map (${make}) [ "one" "two" ]`],
    ...['--no-out-link', '--auto-optimise-store'],
  ]);
  const [one, two] = await Promise.all(paths.split('\n').map((path) => stat(path)));
  assert.equal(one!.ino, two!.ino);
  assert.equal(one!.nlink, 3, 'the third name is that in .links');
});
