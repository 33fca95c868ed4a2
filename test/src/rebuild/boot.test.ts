import assert from 'node:assert/strict';
import { test } from 'node:test';
import { needsComponent } from '../engines/components.js';
import { freePort } from '../engines/scratch.js';
import { Machine, needsExample } from './machine.js';
import { makeDisk, makeGrubDisc, makeLoginKey, VirtualMachine } from './virtual-machine.js';

const arrowDown = '\x1b[B';

test('a machine boots its newest generation, and an older one from the menu', async (t) => {
  if (!needsExample(t) || !needsComponent(t, 'machine')) return;
  await using machine = await Machine.prepare();
  const key = await makeLoginKey(machine);
  const settings = (hostName: string): string[] => [
    'boot.loader.grub.device = "/dev/vda";',
    'boot.loader.timeout = 10;',
    'fileSystems."/".device = "/dev/vda";',
    'services.sshd.enable = true;',
    'boot.kernelParams = [ "console=ttyS0" "panic=-1" "quiet" ];',
    `users.users.root.authorizedKeys = [ "${key.publicKey}" ];`,
    `networking.hostName = "${hostName}";`,
  ];
  const [disk, disc] = [machine.scratch.join('disk.img'), machine.scratch.join('grub.iso')];

  await machine.configure(settings('old'));
  await machine.rebuild('boot');
  await machine.configure(settings('new'));
  await machine.rebuild('boot');
  const [newest, older] = (await machine.grubMenu()).entries;
  await makeGrubDisc(machine, disc);
  await makeDisk(machine, disk);

  await t.test('after a rebuild from outside, the new generation boots by default', async () => {
    await using vm = await VirtualMachine.startDisk({ disk, disc, key });
    await vm.waitForConsole(/generation 1/);
    vm.type('\r'); // What the menu would take by itself after its time.
    assert.equal(await vm.run('hostname'), 'new');
    assert.equal(`${await vm.run('readlink /run/current-system')}/init`, newest!.init);
    assert.equal(`${await vm.run('readlink /run/booted-system')}/init`, newest!.init);
    // From here on it is as if the power failed.
  });

  await t.test("the older generation boots through the menu's own entry", async () => {
    await using vm = await VirtualMachine.startDisk({ disk, disc, key });
    await vm.waitForConsole(/generation 1/);
    vm.type(`${arrowDown}\r`);
    assert.equal(await vm.run('hostname'), 'old');
    assert.equal(`${await vm.run('readlink /run/current-system')}/init`, older!.init);

    // And it switches to the newer one while it runs, by that system's own program.
    const pid = await vm.run('cat /run/daemons/sshd/pid');
    await vm.run('/nix/var/nix/profiles/system/bin/switch-to-configuration switch');
    assert.equal(`${await vm.run('readlink /run/current-system')}/init`, newest!.init);
    assert.equal(await vm.run('cat /etc/hostname'), 'new');
    assert.equal(await vm.run('cat /run/daemons/sshd/pid'), pid, 'sshd did not change and was left alone');
  });
});

test('build-vm gives a machine that needs no disk: the store is shared, and read-only', async (t) => {
  if (!needsExample(t) || !needsComponent(t, 'machine')) return;
  await using machine = await Machine.prepare();
  const [key, port] = [await makeLoginKey(machine), await freePort()];
  await machine.configure([
    'boot.loader.grub.device = "/dev/sda";',
    'fileSystems."/".device = "/dev/sda1";',
    'services.sshd.enable = true;',
    `users.users.root.authorizedKeys = [ "${key.publicKey}" ];`,
    `virtualisation.forwardPorts = [ { host = ${port}; } ];`,
  ]);
  const script = await machine.rebuild('build-vm', '--no-out-link');
  await using vm = VirtualMachine.startScript(script, { port, key });
  assert.match(await vm.run('readlink /run/current-system'), /-system-larder$/);
  assert.match(await vm.run('cat /proc/mounts'), /^store \/nix\/store 9p ro,/m);
  assert.equal(await vm.run('touch /nix/store/x 2>/dev/null || echo refused'), 'refused');
});
