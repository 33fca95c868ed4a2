import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readdir, readFile, readlink, rename, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { runProgram } from '../oracle/program.js';
import { basicSettings, Machine, needsExample } from './machine.js';

test('a configuration from edit to rollback, one verb after the other', async (t) => {
  if (!needsExample(t)) return;
  await using machine = await Machine.create();
  let first = '';
  let second = '';

  await t.test('dry-build says what would be built and builds nothing', async () => {
    const { status, stderr } = await machine.tryRebuild('dry-build');
    assert.equal(status, 0, stderr);
    assert.match(stderr, /^To build: \d+ derivations$/m);
    assert.match(stderr, /^ {2}dropbear-2022/m);
    assert.deepEqual(
      (await machine.store()).filter((name) => name.includes('-system-') && !name.endsWith('.drv')),
      [],
    );
  });

  await t.test('build prints the path, links it, and makes no generation', async () => {
    first = await machine.rebuild('build');
    assert.match(first, /^\/nix\/store\/[0-9a-z]{32}-system-larder$/);
    assert.equal(await readlink(machine.scratch.join('work/result')), machine.path(first));
    assert.ok(!existsSync(machine.path('/nix/var/nix/profiles/system')));
    assert.ok(!existsSync(machine.path('/boot')));
  });

  await t.test('switch makes the first generation, the boot default, and activates it', async () => {
    await machine.rebuild('switch');
    assert.deepEqual(await machine.current(), { number: 1, system: first });
    assert.equal(await machine.running(), first);
    const menu = await machine.grubMenu();
    assert.equal(menu.chosen, 'system-1');
    assert.deepEqual(
      menu.entries.map(({ init }) => init),
      [`${first}/init`],
    );
    for (const file of [menu.entries[0]!.kernel, menu.entries[0]!.initrd])
      assert.ok(existsSync(machine.path(file)));
    assert.equal(await readlink(machine.path('/etc/hostname')), '/etc/static/hostname');
    assert.match(await readlink(machine.path('/bin/sh')), /busybox/);
  });

  await t.test(
    'the same configuration again makes no generation, and the store is not even opened',
    async () => {
      const [database, aside] = [machine.path('/nix/var/nix/db'), machine.scratch.join('db')];
      await rename(database, aside);
      const { stderr } = await machine.tryRebuild('switch');
      assert.match(stderr, /current already/);
      assert.ok(!existsSync(database));
      await rename(aside, database);
      assert.equal((await machine.current()).number, 1);
      assert.equal((await machine.grubMenu()).entries.length, 1);
    },
  );

  await t.test('test activates a change and leaves the default alone', async () => {
    await machine.configure([...basicSettings, 'networking.hostName = "changed";']);
    await machine.rebuild('test');
    second = await machine.running();
    assert.match(second, /-system-changed$/);
    assert.equal((await machine.current()).number, 1);
    assert.equal((await machine.grubMenu()).chosen, 'system-1');
  });

  await t.test('boot makes it the default and activates nothing', async () => {
    await machine.rebuild('test', '--rollback', '--to', '1');
    assert.equal(await machine.running(), first);
    await machine.rebuild('boot');
    assert.deepEqual(await machine.current(), { number: 2, system: second });
    assert.equal(await machine.running(), first);
    const menu = await machine.grubMenu();
    assert.equal(menu.chosen, 'system-2');
    assert.deepEqual(
      menu.entries.map(({ id }) => id),
      ['system-2', 'system-1'],
    );
  });

  await t.test('only what depends on the change was built again', async () => {
    const { stdout } = await machine.tryRebuild('diff', '--json');
    const diff = JSON.parse(stdout.toString()) as Record<'rebuilt' | 'added' | 'removed', { name: string }[]>;
    const names = Object.values(diff)
      .flatMap((each) => (Array.isArray(each) ? each : []))
      .map(({ name }) => name)
      .sort();
    assert.deepEqual(names, ['etc', 'etc-hostname', 'etc-hosts', 'init', 'system-changed', 'system-larder']);
  });

  await t.test('rollback goes back whole, with nothing built or fetched', async () => {
    const before = await machine.store();
    await machine.rebuild('rollback');
    assert.deepEqual(await machine.current(), { number: 1, system: first });
    assert.equal(await machine.running(), first);
    assert.equal((await machine.grubMenu()).chosen, 'system-1');
    assert.deepEqual(await machine.store(), before);
    assert.equal(
      await readFile(machine.path('/etc/hostname'), 'utf8').catch(() => 'in the store'),
      'in the store',
    );
  });

  await t.test('a rollback to what is not there names what is', async () => {
    const none = await machine.tryRebuild('rollback');
    assert.equal(none.status, 1);
    assert.match(none.stderr, /no generation before 1/);
    const absent = await machine.tryRebuild('rollback', '--to', '7');
    assert.match(absent.stderr, /no generation 7; it has 1, 2/);
  });

  await t.test('switch --rollback --to goes to any generation', async () => {
    await machine.rebuild('switch', '--rollback', '--to', '2');
    assert.deepEqual(await machine.current(), { number: 2, system: second });
  });

  await t.test(
    'a hook gets the current system and the one to go back to; its failure changes nothing',
    async () => {
      const [hook, said] = [machine.scratch.join('hook'), machine.scratch.join('said')];
      await writeFile(hook, `#!/bin/sh\necho "$@" > ${said}\nexit 3\n`, { mode: 0o755 });
      const { status, stderr } = await machine.tryRebuild('boot', '--hook', hook);
      assert.equal(status, 0, stderr);
      assert.match(stderr, /the hook .* ended with status 3/);
      assert.equal((await readFile(said, 'utf8')).trim(), `${second} ${first}`);
    },
  );

  await t.test('a hook is refused where another machine switches, before anything is done', async () => {
    for (const action of ['switch', 'rollback']) {
      const { status, stderr } = await machine.tryRebuild(
        action,
        '--hook',
        '/x',
        '--target-host',
        'none.invalid',
      );
      assert.equal(status, 2);
      assert.match(stderr, /--hook does not go with --target-host/);
    }
  });

  await t.test('list-generations shows the newest first and marks the current one', async () => {
    const lines = (await machine.rebuild('list-generations')).split('\n');
    assert.match(lines[1]!, /^2 .*changed, linux-6\.1\.0 .*current$/);
    assert.match(lines[2]!, /^1 .*larder, linux-6\.1\.0 +linux-6\.1\.0$/);
    const [newest] = JSON.parse(await machine.rebuild('list-generations', '--json')) as { path: string }[];
    assert.equal(newest!.path, second);
  });

  await t.test('dry-activate changes nothing', async () => {
    await machine.configure(basicSettings);
    await machine.rebuild('dry-activate');
    assert.equal(await machine.running(), second);
    assert.equal((await machine.current()).number, 2);
  });

  await t.test('a profile of another name gets a submenu of its own', async () => {
    await machine.rebuild('boot', '--profile-name', 'trial');
    const { system } = await machine.current('/nix/var/nix/profiles/system-profiles/trial');
    assert.equal(system, first);
    assert.equal((await machine.current()).number, 2);
    const menu = await machine.grubMenu();
    assert.equal(menu.chosen, "'profile-trial>trial-1'");
    assert.deepEqual(
      menu.entries.map(({ id }) => id),
      ['system-2', 'system-1', 'trial-1'],
    );
  });

  await t.test('build-vm gives a script', async () => {
    const script = await machine.rebuild('build-vm', '--no-out-link');
    assert.match(script, /\/nix\/store\/.*-vm-larder\/bin\/run-larder-vm$/);
    assert.match(await readFile(script, 'utf8'), /mount_tag=store/);
  });

  await t.test('systemd-boot gets one file for every generation', async () => {
    await machine.configure([...basicSettings.slice(1), 'boot.loader.systemd-boot.enable = true;']);
    await machine.rebuild('switch');
    assert.deepEqual((await readdir(machine.path('/boot/loader/entries'))).sort(), [
      'larder-system-1.conf',
      'larder-system-2.conf',
      'larder-system-3.conf',
      'larder-trial-1.conf',
    ]);
    const entry = await readFile(machine.path('/boot/loader/entries/larder-system-3.conf'), 'utf8');
    assert.match(entry, /^linux \/boot\/kernels\/.*vmlinuz$/m);
    assert.match(entry, new RegExp(`^options init=${(await machine.current()).system}/init root=`, 'm'));
    assert.match(
      await readFile(machine.path('/boot/loader/loader.conf'), 'utf8'),
      /^default larder-system-3\.conf$/m,
    );
  });

  await t.test('wrong calls exit with 2 and say how', async () => {
    for (const args of [['flip'], ['switch', 'x'], ['diff', 'a'], ['build', '--flake', '.', '--attr', 'x']]) {
      const { status, stderr } = await machine.tryRebuild(...args);
      assert.equal(status, 2, `${args.join(' ')}: ${stderr}`);
    }
  });
});

test('--file and --attr build any module set that gives config.system.build.toplevel', async (t) => {
  if (!needsExample(t)) return;
  await using machine = await Machine.create();
  const file = machine.scratch.join('fleet.nix');
  const system = `derivation { name = "own"; system = "x86_64-linux"; builder = "/bin/none"; }`;
  await writeFile(file, `{ web.config.system.build.toplevel = ${system}; }`);
  const { stderr } = await machine.tryRebuild('dry-build', '--file', file, '--attr', 'web');
  assert.match(stderr, /To build: 1 derivation\n {2}own/);
});

test('the same configuration gives the same path on another machine, built by Larder or by Nix', async (t) => {
  if (!needsExample(t)) return;
  await using one = await Machine.create();
  await using other = await Machine.create();
  const a = await one.rebuild('build', '--evaluator', 'larder', '--realiser', 'larder');
  const b = await other.rebuild('build', '--evaluator', 'nix', '--realiser', 'nix');
  assert.equal(a, b);
  // Not only the name: the contents too.
  const hash = async ({ root, env }: Machine): Promise<string> => {
    return (await runProgram('nix-store', ['--query', '--hash', '--store', root, a], { env })).toString();
  };
  assert.equal(await hash(one), await hash(other));
});
