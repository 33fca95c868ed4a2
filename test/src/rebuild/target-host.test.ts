import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, readlink, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { needsComponent } from '../engines/components.js';
import { type ProgramResult, runProgram, tryProgram } from '../oracle/program.js';
import { SshServer } from '../oracle/ssh-server.js';
import { basicSettings, larder, Machine, needsExample } from './machine.js';

const workspace = fileURLToPath(new URL('../../..', import.meta.url));

/** A machine whose `/` is a directory, reached by ssh: it has this one's programs, and a store of its own. */
async function startTarget(target: Machine, { withLarder }: { withLarder: boolean }): Promise<SshServer> {
  const bin = target.scratch.join('bin');
  await mkdir(bin, { recursive: true });
  const script = `#!/usr/bin/env sh\nexec ${process.execPath} ${larder} "$@"\n`;
  if (withLarder) await writeFile(`${bin}/larder`, script, { mode: 0o755 });
  const shared = [
    '/usr',
    '/lib',
    '/lib64',
    workspace,
    dirname(process.execPath),
    target.scratch.join('conf'),
    bin,
  ];
  const mounts = [...new Set(shared)].filter((path) => existsSync(path));
  const wrapper = [
    ...[
      '/usr/bin/env',
      'bwrap',
      '--bind',
      target.root,
      '/',
      '--dev-bind',
      '/dev',
      '/dev',
      '--proc',
      '/proc',
      '--tmpfs',
      '/tmp',
    ],
    ...mounts.flatMap((path) => ['--ro-bind', path, path]),
    ...['--dir', '/root', '--chdir', '/', '--'],
  ];
  const path = [bin, dirname(process.execPath), '/usr/bin', '/usr/sbin'].join(':');
  return SshServer.start(
    { PATH: path, HOME: '/root', NIX_CONF_DIR: target.scratch.join('conf'), LC_ALL: 'C.UTF-8' },
    wrapper,
  );
}

function rebuildOn(here: Machine, server: SshServer, args: readonly string[]): Promise<ProgramResult> {
  const words = [...args, '--target-host', `${server.host}:${server.port}`];
  const env = { ...here.env, ...server.nixOptions };
  return tryProgram(process.execPath, here.rebuildArguments(words), { env, cwd: here.scratch.join('work') });
}

for (const withLarder of [true, false]) {
  const what = withLarder ? 'Larder' : 'only stock Nix';
  test(`a system is built here and activated on a machine that has ${what}`, async (t) => {
    if (!needsExample(t) || !needsComponent(t, 'ssh')) return;
    if (process.getuid?.() !== 0) return t.skip('only root can activate a system');
    await using here = await Machine.prepare();
    await using target = await Machine.create();
    await using server = await startTarget(target, { withLarder });

    const switched = await rebuildOn(here, server, ['switch']);
    assert.equal(switched.status, 0, switched.stderr);
    const first = await target.current();
    assert.equal(first.number, 1);
    assert.equal(await target.running(), first.system);
    assert.ok(!existsSync(here.path('/nix/var/nix/profiles/system')), 'nothing is activated here');
    await runProgram('nix-store', ['--verify', '--check-contents', '--store', target.root], {
      env: target.env,
    });
    // Without Larder a system that brings no installer has no menu.
    assert.equal(existsSync(target.path('/boot/grub/grub.cfg')), withLarder);

    await here.configure([...basicSettings, 'networking.hostName = "second";']);
    // The steps that Larder on the target takes are those of this machine, and tested there.
    if (!withLarder) {
      const tried = await rebuildOn(here, server, ['test']);
      assert.equal(tried.status, 0, tried.stderr);
      assert.match(await target.running(), /-system-second$/);
      assert.equal((await target.current()).number, 1);
      const booted = await rebuildOn(here, server, ['boot', '--profile-name', 'trial']);
      assert.equal(booted.status, 0, booted.stderr);
      assert.match(
        (await target.current('/nix/var/nix/profiles/system-profiles/trial')).system,
        /-system-second$/,
      );
    }
    assert.equal((await rebuildOn(here, server, ['switch'])).status, 0);
    assert.equal((await target.current()).number, 2);

    const back = await rebuildOn(here, server, ['switch', '--rollback']);
    assert.equal(back.status, 0, back.stderr);
    assert.deepEqual(await target.current(), first);
    assert.equal(await target.running(), first.system);
    assert.equal((await rebuildOn(here, server, ['rollback', '--to', '2'])).status, 0);
    assert.equal((await target.current()).number, 2);

    const nowhere = await rebuildOn(here, server, ['rollback', '--to', '9']);
    assert.equal(nowhere.status, 1);
  });
}

test('another machine builds, and its result comes back', async (t) => {
  if (!needsExample(t) || !needsComponent(t, 'ssh')) return;
  if (process.getuid?.() !== 0) return t.skip('only root can have builds without a sandbox');
  await using here = await Machine.create();
  await using builder = await Machine.create();
  await using server = await startTarget(builder, { withLarder: false });
  // Builds use the sandbox of that machine, and this has none inside of its own.
  await writeFile(
    builder.scratch.join('conf/nix.conf'),
    'sandbox = false\nbuild-users-group =\nsubstituters =\n',
  );
  await mkdir(builder.path('/bin'));
  await runProgram('cp', ['/bin/sh', builder.path('/bin/sh')]);
  const env = { ...here.env, ...server.nixOptions };
  const args = here.rebuildArguments([
    'build',
    '--build-host',
    `${server.host}:${server.port}`,
    '--no-out-link',
  ]);
  const built = await tryProgram(process.execPath, args, { env });
  assert.equal(built.status, 0, built.stderr);
  const system = built.stdout.toString().trim();
  assert.doesNotMatch(built.stderr, /^building/m);
  assert.match(built.stderr, /Building on .*127\.0\.0\.1/);
  assert.ok(existsSync(here.path(`${system}/init`)));
  assert.equal(await readlink(builder.path(`${system}/sw`)), await readlink(here.path(`${system}/sw`)));
  await runProgram('nix-store', ['--verify', '--check-contents', '--store', here.root], { env: here.env });
});
