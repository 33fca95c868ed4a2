import assert from 'node:assert/strict';
import { chmod, chown, mkdir, readdir, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { needsComponent } from '../engines/components.js';
import { Nix } from '../oracle/nix.js';
import { type ProgramResult, tryProgram } from '../oracle/program.js';
import { larder } from './machine.js';

/** A user who owns nothing: `nobody`. */
const nobody = 65534;

const packages = `{
  greet = derivation {
    name = "greet-1.0";
    system = builtins.currentSystem;
    builder = "/bin/sh";
    args = [ "-c" "/bin/mkdir -p $out/bin; echo '#!/bin/sh' > $out/bin/greet; echo 'echo hello' >> $out/bin/greet; /bin/chmod +x $out/bin/greet" ];
  };
}`;

test("an unprivileged user works through Nix's daemon, and only as it allows", async (t) => {
  if (!needsComponent(t, 'nix')) return;
  if (process.getuid?.() !== 0) return t.skip('only root can become another user');
  await using nix = await Nix.create({ storeDir: 'diverted' });
  await using daemon = await nix.startDaemon();
  const home = nix.scratch.join('nobody');
  await mkdir(home);
  await chown(home, nobody, nobody);
  await chmod(nix.scratch.path, 0o755);
  const file = nix.scratch.join('packages.nix');
  await writeFile(file, packages);
  const env = { ...nix.environment, HOME: home, TMPDIR: home, NIX_REMOTE: `unix://${daemon.socket}` };
  const asNobody = (command: string, args: readonly string[]): Promise<ProgramResult> => {
    const become = [`--reuid=${nobody}`, `--regid=${nobody}`, '--clear-groups'];
    return tryProgram('setpriv', [...become, command, ...args], { env, cwd: '/' });
  };
  if ((await asNobody(process.execPath, [larder, '--version'])).status !== 0)
    return t.skip('this clone is not readable for other users');
  const engines = ['--evaluator', 'nix', '--realiser', 'nix'];
  const profile = `${nix.scratch.join('var')}/profiles/per-user/nobody/profile`;

  await t.test('installs a program that the daemon builds', async () => {
    const args = [larder, 'profile', 'install', '-f', file, 'greet', ...engines];
    const { status, stderr } = await asNobody(process.execPath, args);
    assert.equal(status, 0, stderr);
    assert.equal((await asNobody(`${profile}/bin/greet`, [])).stdout.toString(), 'hello\n');
  });

  await t.test('shares the copy with root, who has a profile of their own', async () => {
    const args = ['profile', 'install', '-f', file, 'greet', ...engines];
    const installed = await tryProgram(process.execPath, [larder, ...args], { env: nix.environment });
    assert.equal(installed.status, 0, installed.stderr);
    const copies = (await readdir(nix.realStoreDir)).filter((name) => name.endsWith('-greet-1.0'));
    assert.equal(copies.length, 1);
  });

  await t.test('rolls back without the right to write the store', async () => {
    assert.equal((await asNobody(process.execPath, [larder, 'profile', 'remove', 'greet'])).status, 0);
    const back = await asNobody(process.execPath, [larder, 'profile', 'rollback']);
    assert.equal(back.status, 0, back.stderr);
    const listed = await asNobody(process.execPath, [larder, 'profile', 'list']);
    assert.match(listed.stdout.toString(), /^greet 1\.0/);
  });

  await t.test('stock Nix reads the profile', async () => {
    const features = ['--extra-experimental-features', 'nix-command flakes'];
    const listed = await asNobody('nix', [...features, 'profile', 'list', '--profile', profile]);
    assert.equal(listed.status, 0, listed.stderr);
    assert.match(listed.stdout.toString(), /-greet-1\.0/);
  });

  await t.test('can write neither the store nor its database', async () => {
    for (const place of [nix.realStoreDir, `${nix.scratch.join('var')}/db`]) {
      assert.notEqual((await asNobody('touch', [`${place}/x`])).status, 0);
    }
  });

  await t.test('cannot pass off a path that nobody trusted has signed', async () => {
    const forged = nix.scratch.join('forged');
    const make = await tryProgram('nix-build', ['--no-out-link', file, '-A', 'greet'], {
      env: nix.environment,
    });
    const path = make.stdout.toString().trim();
    assert.equal(make.status, 0, make.stderr);
    const copy = ['--extra-experimental-features', 'nix-command', 'copy', '--to', `file://${forged}`, path];
    assert.equal((await tryProgram('nix', copy, { env: nix.environment })).status, 0);
    // The profiles go, so that the path can, and would have to come from the cache.
    await tryProgram('sh', [
      '-c',
      `rm -rf ${nix.scratch.join('var')}/profiles/*/* ${nix.scratch.join('var')}/profiles/default*`,
    ]);
    await nix.run('nix-store', ['--gc']);
    const args = [
      'copy',
      '--from',
      `file://${forged}`,
      '--to',
      `unix://${daemon.socket}`,
      '--no-require-sigs',
      path,
    ];
    const refused = await asNobody(process.execPath, [larder, ...args]);
    assert.equal(refused.status, 1, refused.stdout.toString());
    assert.match(refused.stderr, /signature/);
  });
});
