import { strict as assert } from 'node:assert';
import { chmod, mkdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { WireWriter } from '@larder/substituter/daemon/wire';
import { needsComponent } from '../engines/components.js';
import { larderExecutable } from '../larder/larder.js';
import { Nix } from '../oracle/nix.js';
import { runProgram } from '../oracle/program.js';
import { assertSame, expressions, ours, runOurs } from './tools.js';

async function openStore(): Promise<{ nix: Nix; out: string; leaf: string }> {
  const nix = await Nix.create({ storeDir: 'diverted' });
  const file = nix.scratch.join('expressions.nix');
  await writeFile(file, expressions);
  const out = await nix.run('nix-build', [file, '-A', 'top', '-o', nix.scratch.join('result')]);
  const leaf = await nix.run('nix-build', [file, '-A', 'leaf', '--no-out-link']);
  return { nix, out, leaf };
}

test('exports and imports are those of nix-store, both ways', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  const { nix, out } = await openStore();
  await using _ = nix;
  const closure = (await nix.run('nix-store', ['-qR', out])).split('\n');
  const exported = await nix.runBytes('nix-store', ['--export', ...closure]);
  const own = await runOurs(nix, 'nix-store', ['--export', ...closure]);
  assert.ok(exported.equals(own.stdout), own.stderr);
  const before = await nix.run('nix-store', ['--dump-db', ...closure]);
  await rm(nix.scratch.join('result'));
  await nix.run('nix-store', ['--gc']);
  const alone = await nix.runBytes('nix-store', ['--export']);
  assert.equal((await runOurs(nix, 'nix-store', ['--import'], { input: alone })).stdout.toString(), '');
  assert.equal(await ours(nix, 'nix-store', ['--import'], { input: exported }), closure.join('\n'));
  assert.equal(await nix.run('nix-store', ['--dump-db', ...closure]), before);
  const broken = await runOurs(nix, 'nix-store', ['--import'], { input: exported.subarray(0, -100) });
  assert.equal(broken.status, 1);
  assert.match(broken.stderr, /^error: unexpected end-of-file\n/);
  assert.equal((await runOurs(nix, 'nix-store', ['--import'], { input: 'nonsense' })).status, 1);
});

test('a database that was dumped can be loaded, and paths registered', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  const { nix } = await openStore();
  await using _ = nix;
  const dumped = await ours(nix, 'nix-store', ['--dump-db']);
  await rm(nix.scratch.join('var/db'), { recursive: true });
  await ours(nix, 'nix-store', ['--load-db'], { input: `${dumped}\n` });
  assert.equal(await nix.run('nix-store', ['--dump-db']), dumped);
  await nix.run('nix-store', ['--verify', '--check-contents']);
  const path = `${nix.storeDir.path}/${'a'.repeat(32)}-registered`;
  await mkdir(path);
  await writeFile(`${path}/file`, 'contents');
  await ours(nix, 'nix-store', ['--register-validity'], { input: `${path}\n\n1\n${path}\n` });
  assert.equal(await nix.run('nix-store', ['-q', '--references', path]), path);
  await nix.run('nix-store', ['--verify-path', path]);
});

test('what is damaged is found, and repaired by building it again', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  const { nix, out, leaf } = await openStore();
  await using _ = nix;
  await assertSame(nix, 'nix-store', ['--verify', '--check-contents']);
  const damage = async () => {
    await chmod(`${leaf}/leaf`, 0o644);
    await writeFile(`${leaf}/leaf`, 'damaged');
  };
  await damage();
  const args = ['--verify', '--check-contents', '-v'];
  const expected = await nix.try('nix-store', args);
  const got = await assertSame(nix, 'nix-store', args);
  assert.equal(got.status, 1);
  assert.deepEqual(got.stderr.split('\n').sort(), expected.stderr.split('\n').sort());
  await assertSame(nix, 'nix-store', ['--verify-path', leaf]);
  await ours(nix, 'nix-store', ['--verify', '--check-contents', '--repair']);
  await nix.run('nix-store', ['--verify', '--check-contents']);
  await damage();
  await ours(nix, 'nix-store', ['--repair-path', leaf]);
  await nix.run('nix-store', ['--verify', '--check-contents']);
  await damage();
  await ours(nix, 'verify', ['--all', '--repair', '--no-trust', '--option', 'substituters=']);
  await nix.run('nix-store', ['--verify', '--check-contents']);
  await chmod(leaf, 0o755);
  await rm(leaf, { recursive: true });
  const file = nix.scratch.join('expressions.nix');
  assert.equal(await ours(nix, 'nix-build', [file, '-A', 'top', '--no-out-link', '--repair']), out);
  assert.equal(await readFile(`${leaf}/leaf`, 'utf8'), 'leaf\n');
  await nix.run('nix-store', ['--verify', '--check-contents']);
});

test('single paths are deleted if nothing needs them', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  const { nix, out, leaf } = await openStore();
  await using _ = nix;
  assert.equal((await assertSame(nix, 'nix-store', ['--delete', leaf])).status, 1);
  assert.equal((await assertSame(nix, 'nix-store', ['--delete', '--ignore-liveness', leaf])).status, 1);
  const dead = (await ours(nix, 'nix-store', ['--gc', '--print-dead', '--keep-derivations'])).split('\n');
  assert.deepEqual(
    dead,
    (await nix.run('nix-store', ['--gc', '--print-dead', '--keep-derivations'])).split('\n'),
  );
  const deleted = await ours(nix, 'nix-store', ['--delete', '--ignore-liveness', out]);
  assert.match(deleted, /^1 store paths deleted/);
  assert.equal(await nix.run('nix-store', ['--check-validity', '--print-invalid', out, leaf]), out);
  const needed = (await nix.run('nix-store', ['-q', '--referrers-closure', leaf])).split('\n');
  await rm(nix.scratch.join('result'));
  assert.match(
    await ours(nix, 'nix-store', ['--delete', ...needed]),
    new RegExp(`^${needed.length} store paths`),
  );
});

test('files with the same contents are kept once after --optimise, and stock Nix finds nothing more to link', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using nix = await Nix.create({ storeDir: 'diverted' });
  const paths: string[] = [];
  for (const name of ['first', 'second']) {
    await writeFile(nix.scratch.join(name), 'the same');
    paths.push(await ours(nix, 'nix-store', ['--add', nix.scratch.join(name)]));
  }
  const { stderr } = await runOurs(nix, 'nix-store', ['--optimise']);
  assert.match(stderr, /MiB freed by hard-linking 1 files\n$/);
  const [first, second] = await Promise.all(paths.map((path) => stat(path)));
  assert.equal(first!.ino, second!.ino);
  assert.match((await nix.try('nix-store', ['--optimise'])).stderr, /hard-linking 0 files\n$/);
});

test('a state directory may lie deeper than the address of a socket is long', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using nix = await Nix.create({ storeDir: 'diverted' });
  const env = { NIX_STATE_DIR: nix.scratch.join('d'.repeat(120)) };
  await writeFile(nix.scratch.join('file'), 'contents');
  const path = await ours(nix, 'nix-store', ['--add', nix.scratch.join('file')], { env });
  assert.match(await ours(nix, 'nix-store', ['--gc'], { env }), /^1 store paths deleted/);
  // A process that needs a path while a collector is running tells it so through that socket.
  const gate = nix.scratch.join('gate');
  await runProgram('mkfifo', [gate]);
  assert.equal(await ours(nix, 'nix-store', ['--add', nix.scratch.join('file')], { env }), path);
  const collecting = runOurs(nix, 'nix-store', ['--gc'], { env: { ...env, _NIX_TEST_GC_SYNC: gate } });
  const socket = `${env.NIX_STATE_DIR}/gc-socket/socket`;
  const ended = collecting.then(({ stderr }) => `it ended before it listened: ${stderr}`);
  while (!(await stat(socket).catch(() => undefined)))
    assert.equal(await Promise.race([setTimeout(50, 'waiting'), ended]), 'waiting');
  assert.equal(await ours(nix, 'nix-store', ['--add', nix.scratch.join('file')], { env }), path);
  await writeFile(gate, '');
  assert.equal((await collecting).status, 0);
});

test('old generations of profiles go as with nix-collect-garbage', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  const { nix, out, leaf } = await openStore();
  await using _ = nix;
  const profile = nix.scratch.join('var/profiles/test');
  await nix.run('nix', ['build', '--no-link', '--profile', profile, leaf]);
  await nix.run('nix', ['build', '--no-link', '--profile', profile, out]);
  const versions = (said: string): string[] => said.split('\n').filter((line) => line.includes('version'));
  for (const [words, count] of [
    [['--delete-older-than', '3d'], 0],
    [['-d'], 1],
  ] as const) {
    const [mine, stock] = await Promise.all([
      runOurs(nix, 'nix-collect-garbage', [...words, '--dry-run']),
      nix.try('nix-collect-garbage', [...words, '--dry-run']),
    ]);
    assert.equal(mine.status, 0, mine.stderr);
    assert.equal(versions(stock.stderr).length, count, stock.stderr);
    assert.deepEqual(versions(mine.stderr), versions(stock.stderr));
  }
  await ours(nix, 'nix-collect-garbage', ['-d']);
  const roots = await nix.run('nix-store', ['--gc', '--print-roots']);
  assert.match(roots, /test-2-link/);
  assert.doesNotMatch(roots, /test-1-link/);
});

test('files are added, hashed and fetched under the names that Nix gives them', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using nix = await Nix.create({ storeDir: 'diverted' });
  const tree = nix.scratch.join('tree');
  await mkdir(tree);
  await writeFile(`${tree}/file`, 'contents');
  for (const args of [
    ['--add', tree, `${tree}/file`],
    ['--add-fixed', 'sha256', `${tree}/file`],
    ['--add-fixed', 'sha1', '--recursive', tree],
  ]) {
    const added = await ours(nix, 'nix-store', args);
    assert.equal(added, await nix.run('nix-store', args));
  }
  const sha256 = await ours(nix, 'nix-hash', ['--type', 'sha256', '--base32', tree]);
  assert.equal(
    `sha256:${sha256}`,
    await nix.run('nix-store', ['-q', '--hash', await nix.run('nix-store', ['--add', tree])]),
  );
  assert.equal(await ours(nix, 'nix-hash', ['--flat', `${tree}/file`]), '98bf7d8c15784f0a3d63204441e1e2aa');
  const base16 = await ours(nix, 'nix-hash', ['--type', 'sha256', '--to-base16', sha256]);
  assert.equal(await ours(nix, 'nix-hash', ['--type', 'sha256', '--to-base32', base16]), sha256);
  const fetched = await ours(nix, 'nix-prefetch-url', ['--print-path', `file://${tree}/file`]);
  const path = await nix.run('nix-store', ['--add-fixed', 'sha256', `${tree}/file`]);
  assert.deepEqual(fetched.split('\n'), [
    await ours(nix, 'nix-hash', ['--flat', '--type', 'sha256', '--base32', `${tree}/file`]),
    path,
  ]);
});

test('through the daemon, garbage is shown, deleted and collected as stock Nix has it', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  await using nix = await Nix.create({ storeDir: 'diverted' });
  const file = nix.scratch.join('expressions.nix');
  await writeFile(file, expressions);
  const link = nix.scratch.join('result');
  const kept = await nix.run('nix-build', [file, '-A', 'leaf', '-o', link]);
  const dead = await nix.run('nix-build', [file, '-A', 'outputs', '--no-out-link']);
  const profile = nix.scratch.join('var/profiles/per-user/somebody/profile');
  await mkdir(dirname(profile), { recursive: true });
  await symlink(dead, `${profile}-1-link`);
  await symlink(kept, `${profile}-2-link`);
  await symlink('profile-2-link', profile);
  await using daemon = await nix.startDaemon();
  const env = { ...nix.environment, NIX_REMOTE: `unix://${daemon.socket}` };
  for (const what of ['--print-live', '--print-dead'])
    await assertSame(nix, 'nix-store', ['--gc', what], { env });
  // Those of processes, without a file, come and go; and Nix has no order.
  const places = (text: Buffer) => text.toString().match(/^\/.*/gm)?.sort();
  for (const args of [
    ['--gc', '--print-roots'],
    ['-q', '--roots', kept],
  ]) {
    const got = await runOurs(nix, 'nix-store', args, { env });
    assert.deepEqual(
      places(got.stdout),
      places((await nix.try('nix-store', args, { env })).stdout),
      got.stderr,
    );
  }
  const refused = await runOurs(nix, 'nix-store', ['--delete', kept], { env });
  assert.match(refused.stderr, /since it is still alive/);
  const collected = await runOurs(nix, 'nix-collect-garbage', ['-d'], { env });
  assert.match(collected.stderr, /^removing profile version 1$/m);
  assert.match(collected.stdout.toString(), /^[1-9]\d* store paths deleted, \d+\.\d\d MiB freed$/m);
  assert.equal(await nix.run('nix-store', ['--check-validity', '--print-invalid', kept, dead]), dead);
});

test('nix copy goes through nix-store --serve of ours, there and back', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  const { nix, out, leaf } = await openStore();
  await using _ = nix;
  await using other = await Nix.create({ storeDir: 'diverted' });
  // A machine by the name of localhost is reached without ssh.
  const program = nix.scratch.join('nix-store');
  const variables = Object.entries({ ...other.environment, NIX_STORE_DIR: nix.storeDir.path });
  const exports = variables.map(([name, value]) => `export ${name}='${value}'\n`).join('');
  const command = `exec '${process.execPath}' '${larderExecutable}' nix-store "$@"`;
  await writeFile(program, `#!/bin/sh\n${exports}${command} --option require-sigs false\n`, { mode: 0o755 });
  const root = nix.scratch.join('other');
  const place = encodeURIComponent(`${root}?store=${nix.storeDir.path}&real=${root}${nix.storeDir.path}`);
  const machine = `ssh://localhost?store=${nix.storeDir.path}&remote-program=${program}&remote-store=${place}`;
  await nix.run('nix', ['copy', '--to', machine, out]);
  await nix.run('nix', ['copy', '--to', machine, out]); // Nothing is left to do.
  assert.ok((await stat(`${root}${leaf}`)).isDirectory());
  const derivation = await nix.run('nix-store', ['-qd', out]);
  await nix.run('nix', ['copy', '--to', machine, '--derivation', derivation]);
  const infos = (store: string) =>
    nix.runOn(store, 'nix', ['path-info', '--json', '-r', out]).then((text) => JSON.parse(text) as object[]);
  const known = (info: object) => ({ ...info, registrationTime: 0, ultimate: true, valid: true });
  assert.deepEqual((await infos(machine)).map(known), (await infos('local')).map(known));

  await rm(nix.scratch.join('result'));
  await nix.run('nix-store', ['--delete', out]);
  await nix.run('nix', ['copy', '--no-check-sigs', '--from', machine, out]);
  await nix.run('nix-store', ['--verify-path', out]);
});

test('builds are asked of nix-store --serve as legacy clients ask, and refused without --write', async (t) => {
  if (!needsComponent(t, 'nix')) return;
  const { nix } = await openStore();
  await using _ = nix;
  const file = nix.scratch.join('expressions.nix');
  const asked: number[][] = [];
  for (const attribute of ['outputs', 'failing']) {
    const derivation = await nix.run('nix-instantiate', [file, '-A', attribute]);
    const request = new WireWriter().number(0x390c9deb).number(0x207);
    const buildPaths = 6;
    request.number(buildPaths).strings([`${derivation}!out`]);
    const [silence, time, log, repeat, enforce, keep] = [0, 60, 0, 1, 1, 0];
    for (const setting of [silence, time, log, repeat, enforce, keep]) request.number(setting!);
    const input = request.finish();
    const refused = await runOurs(nix, 'nix-store', ['--serve'], { input });
    assert.match(refused.stderr, /^error: building paths is not allowed$/m);
    const { stdout } = await runOurs(nix, 'nix-store', ['--serve', '--write'], { input });
    // Greeting, version and status; behind the status of a failure there is text.
    asked.push([0, 8, 16].map((at) => Number(stdout.readBigUInt64LE(at))));
  }
  const greeting = [0x5452eecb, 0x207];
  assert.deepEqual(asked, [
    [...greeting, 0],
    [...greeting, 100],
  ]);
});
