import assert from 'node:assert/strict';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type ProgramResult, runProgram, tryProgram } from '../oracle/program.js';
import { larder, Machine, needsExample } from './machine.js';

const example = fileURLToPath(new URL('../../../deploy/example', import.meta.url));
const features = ['--extra-experimental-features', 'nix-command flakes'];

test('a flake with a lock, a path and a Git repository as inputs: its machine, and a specialisation of it', async (t) => {
  if (!needsExample(t)) return;
  await using machine = await Machine.prepare();
  const env = machine.env;
  const [flake, names] = [machine.scratch.join('flake'), machine.scratch.join('names')];
  const git = (directory: string, ...args: readonly string[]): Promise<Buffer> =>
    runProgram('git', ['-C', directory, '-c', 'user.name=t', '-c', 'user.email=t@example.org', ...args], {
      env,
    });
  await mkdir(names);
  await writeFile(`${names}/name.nix`, '"from-git"\n');
  await mkdir(flake);
  const lines = [
    '{',
    `  inputs.example.url = "path:${example}";`,
    `  inputs.names = { url = "git+file://${names}"; flake = false; };`,
    '  outputs = { self, example, names }: {',
    '    nixosConfigurations.web = example.lib.system ({ lib, ... }: {',
    '      imports = [ ./configuration.nix ];',
    '      networking.hostName = import (names + "/name.nix");',
    '      specialisation.closed.configuration.services.sshd.enable = lib.mkForce false;',
    '    });',
    '  };',
    '}',
  ];
  await writeFile(`${flake}/flake.nix`, `${lines.join('\n')}\n`);
  await writeFile(`${flake}/configuration.nix`, await readFile(machine.configuration, 'utf8'));
  for (const directory of [names, flake]) {
    await git(directory, 'init', '-q');
    await git(directory, 'add', '-A');
    await git(directory, 'commit', '-q', '-m', 'start');
  }
  await runProgram('nix', [...features, 'flake', 'lock', flake, '--store', machine.root], { env });
  await git(flake, 'add', 'flake.lock');
  const stock = await runProgram(
    'nix',
    [
      ...features,
      'eval',
      '--raw',
      `${flake}#nixosConfigurations.web.config.system.build.toplevel.outPath`,
      '--store',
      machine.root,
    ],
    { env },
  );
  const system = stock.toString();
  const rebuild = (...args: readonly string[]): Promise<ProgramResult> =>
    tryProgram(process.execPath, [larder, 'rebuild', ...args, '--root', machine.root], { env, cwd: flake });

  await t.test('its toplevel is the one that stock Nix names', async () => {
    const { status, stderr } = await rebuild('switch', '--flake', '.#web');
    assert.equal(status, 0, stderr);
    assert.equal((await machine.current()).system, system);
    assert.match(system, /-system-from-git$/);
  });

  await t.test('nothing is evaluated again while nothing changes, and the store is not opened', async () => {
    const [database, aside] = [machine.path('/nix/var/nix/db'), machine.scratch.join('db')];
    await rename(database, aside);
    const { status, stderr } = await rebuild('switch', '--flake', '.#web');
    await rename(aside, database);
    assert.equal(status, 0, stderr);
    assert.match(stderr, /current already/);
    assert.equal((await machine.current()).number, 1);
  });

  await t.test('what git tracks is looked at, and what it does not is not', async () => {
    await writeFile(`${flake}/untracked.nix`, '{ }\n');
    const settings = await readFile(`${flake}/configuration.nix`, 'utf8');
    assert.match((await rebuild('build', '--no-out-link', '--flake', '.#web')).stderr, /current already/);
    const changed = settings.replace('{\n', '{\nboot.loader.timeout = 9;\n');
    await writeFile(`${flake}/configuration.nix`, changed);
    const { stderr } = await rebuild('dry-build', '--flake', '.#web');
    assert.match(stderr, /^warning: Git tree '.*\/flake' is dirty$/m);
    assert.match(stderr, /^To build: /m);
    await writeFile(`${flake}/configuration.nix`, settings);
  });

  await t.test('a specialisation is activated by name, and has entries in the menu', async () => {
    const closed = await rebuild('test', '--flake', '.#web', '--specialisation', 'closed');
    assert.equal(closed.status, 0, closed.stderr);
    assert.notEqual(await machine.running(), system);
    const { chosen, entries } = await machine.grubMenu();
    assert.equal(chosen, 'system-1');
    assert.deepEqual(
      entries.map(({ id, init }) => [id, init]),
      [
        ['system-1', `${system}/init`],
        ['system-1-closed', `${await machine.running()}/init`],
      ],
    );
    assert.equal((await rebuild('rollback', '--to', '1')).status, 0);
    assert.equal(await machine.running(), system);
    assert.equal((await rebuild('rollback', '--to', '1', '-c', 'closed')).status, 0);
    assert.notEqual(await machine.running(), system);
  });

  await t.test('one that there is not is refused before anything changes', async () => {
    const { status, stderr } = await rebuild('switch', '--flake', '.#web', '--specialisation', 'open');
    assert.equal(status, 1);
    assert.match(stderr, /has no specialisation 'open'; it has closed/);
    assert.deepEqual(await machine.current(), { number: 1, system });
  });

  await t.test('a host that the flake has not is named', async () => {
    const { status, stderr } = await rebuild('build', '--flake', `${flake}#other`);
    assert.equal(status, 1);
    assert.match(stderr, /other/);
  });

  await t.test('--store-path takes what is built, and evaluates nothing', async () => {
    const { status, stderr } = await rebuild('boot', '--store-path', system, '--profile-name', 'trial');
    assert.equal(status, 0, stderr);
    assert.equal((await machine.current('/nix/var/nix/profiles/system-profiles/trial')).system, system);
    const absent = await rebuild('boot', '--store-path', system.replace('from-git', 'from-nowhere'));
    assert.equal(absent.status, 1);
    assert.match(absent.stderr, /is not a system in the store/);
  });
});
