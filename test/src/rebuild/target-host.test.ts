import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, readlink, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { needsComponent } from '../engines/components.js';
import { type ProgramResult, runProgram, tryProgram } from '../oracle/program.js';
import { SshServer } from '../oracle/ssh-server.js';
import { basicSettings, larder, Machine, needsExample } from './machine.js';
import { publishSystem } from './signed-cache.js';

const workspace = fileURLToPath(new URL('../../..', import.meta.url));

/** A machine whose `/` is a directory, reached by ssh: it has this one's programs, and a store of its own. */
async function startTarget(
  target: Machine,
  { withLarder, also = [] }: { readonly withLarder: boolean; readonly also?: readonly string[] },
): Promise<SshServer> {
  const bin = target.scratch.join('bin');
  await mkdir(bin, { recursive: true });
  const script = `#!/usr/bin/env sh\nexec ${process.execPath} ${larder} "$@"\n`;
  if (withLarder) await writeFile(`${bin}/larder`, script, { mode: 0o755 });
  const mounts = [...sharedDirectories(target), ...also];
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
  return SshServer.start(targetEnvironment(target), wrapper);
}

/** What a target has of this machine. */
function sharedDirectories({ scratch }: Machine): readonly string[] {
  const node = dirname(process.execPath);
  const all = ['/usr', '/lib', '/lib64', workspace, node, scratch.join('conf'), scratch.join('bin')];
  return [...new Set(all)].filter((path) => existsSync(path));
}

function targetEnvironment({ scratch }: Machine): Readonly<Record<string, string>> {
  const path = [scratch.join('bin'), dirname(process.execPath), '/usr/bin', '/usr/sbin'].join(':');
  return { PATH: path, HOME: '/root', NIX_CONF_DIR: scratch.join('conf'), LC_ALL: 'C.UTF-8' };
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

test('with --use-substitutes the target fetches what its own caches have', async (t) => {
  if (!needsExample(t) || !needsComponent(t, 'ssh')) return;
  if (process.getuid?.() !== 0) return t.skip('only root can write the store of another machine');
  await using here = await Machine.prepare();
  await using target = await Machine.create();
  // A cache has the first system. The second differs in a few paths, which only this machine has.
  const { directory, publicKey } = await publishSystem(here);
  await here.configure([...basicSettings, 'networking.hostName = "second";']);
  const conf = [
    `substituters = file://${directory}`,
    `trusted-public-keys = ${publicKey}`,
    'build-users-group =',
  ];
  await writeFile(target.scratch.join('conf/nix.conf'), `${conf.join('\n')}\n`);
  await using server = await startTarget(target, { withLarder: false, also: [directory] });
  const { status, stderr } = await rebuildOn(here, server, ['boot', '--use-substitutes']);
  assert.equal(status, 0, stderr);
  const { system } = await target.current();
  assert.match(system, /-system-second$/);
  const args = ['path-info', '--store', `local?root=${target.root}`, '-r', '--json', system];
  const output = await runProgram(process.execPath, [larder, ...args], { env: here.env });
  const infos = JSON.parse(output.toString()) as Record<string, { signatures?: readonly string[] }>;
  const isFetched = (path: string): boolean =>
    (infos[path]?.signatures ?? []).some((signature) => signature.startsWith('test-1:'));
  const [fetched, copied] = [true, false].map((wanted) =>
    Object.keys(infos).filter((path) => isFetched(path) === wanted),
  ) as [string[], string[]];
  assert.ok(fetched.some((path) => path.endsWith('-initrd')));
  assert.ok(copied.includes(system) && copied.length < 10, copied.join());
});

/** Who logs in on a machine where only sudo makes root. */
const deployer = { name: 'deployer', uid: 1234 };

/**
 * A command that runs its arguments with the target's directory as `/`, as bubblewrap would, which takes away what sudo
 * needs: the right to become root.
 */
async function makeEntrance(target: Machine): Promise<string> {
  const script = [
    '#!/bin/sh',
    `exec unshare -m /bin/sh -e -c '`,
    `for each in ${[...sharedDirectories(target), '/dev', '/proc'].join(' ')}; do`,
    `  mkdir -p ${target.root}$each; mount --rbind $each ${target.root}$each`,
    'done',
    `exec chroot ${target.root} "$@"' sh "$@"`,
  ];
  const file = target.scratch.join('enter');
  await writeFile(file, `${script.join('\n')}\n`, { mode: 0o755 });
  return file;
}

/** What a machine has whose root is a directory, so that people can log in, and one of them may become root. */
async function makeAccounts(target: Machine): Promise<void> {
  const { name, uid } = deployer;
  const files = {
    '/etc/passwd': `root:x:0:0::/root:/bin/sh\n${name}:x:${uid}:${uid}::/:/bin/sh\n`,
    '/etc/group': `root:x:0:\n${name}:x:${uid}:\n`,
    '/etc/pam.d/sudo': ['auth', 'account', 'session']
      .map((kind) => `${kind} sufficient pam_permit.so\n`)
      .join(''),
  };
  await mkdir(target.path('/etc/pam.d'), { recursive: true });
  await mkdir(target.path('/tmp'));
  for (const [file, text] of Object.entries(files)) await writeFile(target.path(file), text);
  await writeFile(target.path('/etc/sudoers'), `${name} ALL=(ALL) NOPASSWD: ALL\n`, { mode: 0o440 });
}

test('with --sudo one who is not root deploys through the daemon there, and sudo does the rest', async (t) => {
  if (!needsExample(t) || !needsComponent(t, 'ssh') || !needsComponent(t, 'sudo')) return;
  if (process.getuid?.() !== 0 || (await tryProgram('unshare', ['-m', 'true'])).status !== 0)
    return t.skip('this takes root with the right to mount');
  await using here = await Machine.prepare([...basicSettings, `users.users.deployer.uid = ${deployer.uid};`]);
  await using target = await Machine.create();
  await makeAccounts(target);
  const conf = `trusted-users = root ${deployer.name}\nbuild-users-group =\nsubstituters =\n`;
  await writeFile(target.scratch.join('conf/nix.conf'), conf);
  const enter = await makeEntrance(target);
  const env = targetEnvironment(target);
  const daemon = spawn(enter, ['nix-daemon'], { env, stdio: 'ignore' });
  const become = [`--reuid=${deployer.uid}`, `--regid=${deployer.uid}`, '--clear-groups', '--'];
  try {
    const socket = target.path('/nix/var/nix/daemon-socket/socket');
    for (let tries = 0; !existsSync(socket); tries++) {
      assert.ok(tries < 200 && daemon.exitCode === null, 'the daemon does not start');
      await sleep(50);
    }
    await using server = await SshServer.start(env, [enter, 'setpriv', ...become]);
    const refused = await rebuildOn(here, server, ['switch']);
    assert.equal(refused.status, 1);
    assert.match(refused.stderr, /ermission denied/, 'the profile is not theirs to change');
    assert.ok(!existsSync(target.path('/nix/var/nix/profiles/system')));

    const { status, stderr } = await rebuildOn(here, server, ['switch', '--sudo']);
    assert.equal(status, 0, stderr);
    const { number, system } = await target.current();
    assert.equal(number, 1);
    assert.equal(await target.running(), system);
  } finally {
    const ended = once(daemon, 'exit');
    if (daemon.kill()) await ended;
  }
});
