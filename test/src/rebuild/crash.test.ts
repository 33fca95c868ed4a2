import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, statSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { rebuildKills } from '../engines/config.js';
import { basicSettings, Machine, needsExample } from './machine.js';

const kills = rebuildKills();
/** After every so many kills one run is left alone, and must complete. */
const completeEvery = 5;

test('kill -9 at random moments of switch: the profile and the menu always name a whole generation', async (t) => {
  if (!needsExample(t)) return;
  await using machine = await Machine.prepare();
  await machine.rebuild('switch');
  const host = (number: number): string[] => [...basicSettings, `networking.hostName = "host-${number}";`];

  await machine.configure(host(0));
  const start = performance.now();
  await machine.rebuild('switch');
  const duration = performance.now() - start;

  let changed = 0;
  for (let number = 1; number <= kills; number++) {
    const before = await machine.current();
    await machine.configure(host(number));
    await killAt(machine, Math.random() * duration * 1.1);
    await assertWhole(machine, `after kill ${number}`);
    if ((await machine.current()).system !== before.system) changed++;
    if (number % completeEvery !== 0) continue;
    await machine.rebuild('switch');
    await assertWhole(machine, `after the run that followed kill ${number}`);
    const { number: generation, system } = await machine.current();
    assert.match(system, new RegExp(`-system-host-${number}$`));
    assert.equal(await machine.running(), system);
    assert.equal((await machine.grubMenu()).chosen, `system-${generation}`);
  }
  // The moments are spread over the whole: some before the change, some after it.
  t.diagnostic(`${changed} of ${kills} kills came after the profile had changed`);
});

/** Starts `larder rebuild switch` and kills it, with all that it has started: as a power failure would. */
async function killAt(machine: Machine, milliseconds: number): Promise<void> {
  const child = spawn(process.execPath, machine.rebuildArguments(['switch']), {
    env: machine.env,
    stdio: 'ignore',
    detached: true,
  });
  const exit = once(child, 'exit');
  await Promise.race([sleep(milliseconds), exit]);
  try {
    process.kill(-child.pid!, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
  await exit;
}

async function assertWhole(machine: Machine, when: string): Promise<void> {
  const { number, system } = await machine.current();
  assert.ok(number >= 1, when);
  for (const file of ['init', 'activate', 'boot.json', 'bin/switch-to-configuration'])
    assert.ok(existsSync(machine.path(`${system}/${file}`)), `${when}: ${system}/${file}`);
  const menu = await machine.grubMenu();
  assert.ok(
    menu.entries.some(({ id }) => id === menu.chosen),
    `${when}: the default ${menu.chosen} is in the menu`,
  );
  for (const { kernel, initrd, init, id } of menu.entries) {
    assert.ok(existsSync(machine.path(init)), `${when}: ${id} has its init`);
    for (const copy of [kernel, initrd]) {
      // `<store path's name>-<file's name>`: the copy must be as long as what it was made of.
      const [, storePath, name] = /\/kernels\/(.*)-(vmlinuz|initrd)$/.exec(copy)!;
      const original = statSync(machine.path(`/nix/store/${storePath}/${name}`));
      assert.equal(statSync(machine.path(copy)).size, original.size, `${when}: ${copy}`);
    }
  }
}
