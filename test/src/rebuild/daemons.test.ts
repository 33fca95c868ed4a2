import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../engines/scratch.js';
import { Machine, needsExample } from './machine.js';

test('a switch starts, stops and restarts just the daemons that changed', async (t) => {
  if (!needsExample(t)) return;
  const port = await freePort();
  const settings = (daemons: readonly string[]): string[] => [
    'boot.loader.grub.device = "nodev";',
    'fileSystems."/".device = "/dev/sda1";',
    // The machine has this one's network.
    'networking.dhcp.interface = null;',
    `services.sshd = { enable = true; port = ${port}; listenAddress = "127.0.0.1"; };`,
    ...daemons,
  ];
  const daemon = (name: string, seconds: number): string => `daemons.${name}.run = "exec sleep ${seconds}";`;
  await using machine = await Machine.prepare(settings([daemon('steady', 1001), daemon('changing', 1002)]));
  // What the example's init makes: there is somebody to supervise daemons.
  await mkdir(machine.path('/run/daemons'), { recursive: true });
  try {
    await machine.rebuild('switch');
    const first = await pids(machine, ['changing', 'sshd', 'steady']);
    assert.match(await banner(port), /^SSH-2\.0-dropbear/);

    await machine.configure(settings([daemon('steady', 1001), daemon('changing', 1003)]));
    assert.match((await machine.tryRebuild('dry-activate')).stderr, /would restart changing/);
    assert.deepEqual(await pids(machine, [...first.keys()]), first);

    const { stderr } = await machine.tryRebuild('switch');
    assert.match(stderr, /^restart changing$/m);
    const second = await pids(machine, [...first.keys()]);
    assert.equal(second.get('steady'), first.get('steady'));
    assert.equal(second.get('sshd'), first.get('sshd'));
    assert.notEqual(second.get('changing'), first.get('changing'));

    await machine.configure(settings([daemon('changing', 1003), daemon('new', 1004)]));
    const third = await machine.tryRebuild('test');
    assert.match(third.stderr, /^stop steady$/m);
    assert.match(third.stderr, /^start new$/m);
    await pids(machine, ['changing', 'new', 'sshd']);

    await machine.rebuild('rollback');
    await pids(machine, ['changing', 'sshd', 'steady']);
  } finally {
    await endAll(machine);
  }
});

/** The supervisors' process ids by daemon, once just these run. */
async function pids(machine: Machine, names: readonly string[]): Promise<Map<string, number>> {
  const expected = names.join();
  for (let attempt = 0; ; attempt++) {
    const found = new Map<string, number>();
    for (const name of (await readdir(machine.path('/run/daemons'))).sort()) {
      const text = await readFile(machine.path(`/run/daemons/${name}/pid`), 'utf8').catch(() => '');
      if (text.endsWith('\n')) found.set(name, Number(text));
    }
    if ([...found.keys()].join() === expected) return found;
    assert.ok(attempt < 300, `${[...found.keys()].join()} run, not ${expected}`);
    await sleep(50);
  }
}

async function endAll(machine: Machine): Promise<void> {
  for (const name of await readdir(machine.path('/run/daemons'))) {
    const pid = Number(await readFile(machine.path(`/run/daemons/${name}/pid`), 'utf8').catch(() => ''));
    if (pid > 1) process.kill(-pid, 'SIGKILL');
  }
}

/** What a server says first. */
async function banner(port: number): Promise<string> {
  for (let attempt = 0; ; attempt++) {
    const socket = connect(port, '127.0.0.1');
    try {
      const [data] = (await once(socket, 'data')) as [Buffer];
      return data.toString();
    } catch (error) {
      if (attempt === 100) throw error;
      await sleep(100);
    } finally {
      socket.destroy();
    }
  }
}
