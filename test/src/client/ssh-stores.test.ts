import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { needsComponent } from '../engines/components.js';
import { larder } from '../oracle/larder.js';
import { Nix } from '../oracle/nix.js';
import { SshServer } from '../oracle/ssh-server.js';

/** Where ssh of these tests finds nothing of the user's. */
const sshOptions = { NIX_SSHOPTS: '-F none -o "BatchMode yes"' };

/** Two paths, one of which refers to the other. */
async function makePaths(nix: Nix): Promise<{ lower: string; upper: string }> {
  const tree = nix.scratch.join('tree');
  await mkdir(tree);
  await writeFile(`${tree}/bytes`, randomBytes(3_000_000));
  const [lower = ''] = await nix.add(tree);
  const [upper = ''] = await nix.instantiate(
    `derivation { name = "upper"; system = "x"; builder = "b"; tree = builtins.storePath ${lower}; }`,
  );
  return { lower, upper };
}

test("a store of another machine, reached by ssh, through stock Nix's daemon there", async (t) => {
  if (!needsComponent(t, 'nix') || !needsComponent(t, 'ssh')) return;
  await using here = await Nix.create();
  await using there = await Nix.create();
  await using server = await SshServer.start(there.environment);
  const remote = server.storeUri({ 'remote-store': there.root ?? '' });
  const options = { env: { ...here.environment, ...sshOptions } };
  const { lower, upper } = await makePaths(here);

  await t.test('a closure is copied to it, whole', async () => {
    const copied = await larder(
      ['copy', '--from', `local?root=${here.root}`, '--to', remote, '--no-require-sigs', upper],
      options,
    );
    assert.equal(copied.status, 0, copied.stderr);
    await there.run('nix-store', ['--verify', '--check-contents']);
    assert.equal(await there.run('nix-store', ['--query', '--references', upper]), lower);
  });

  await t.test('it is asked what it has', async () => {
    const asked = await larder(['store', 'query', '--store', remote, '--requisites', upper], options);
    assert.equal(asked.status, 0, asked.stderr);
    assert.deepEqual(asked.stdout.toString().trim().split('\n').sort(), [lower, upper].sort());
  });

  await t.test('and copied from, over several connections', async () => {
    await here.run('nix-store', ['--delete', upper, lower]);
    const from = `${remote}&max-connections=3`;
    const to = ['--to', `local?root=${here.root}`];
    const fetched = await larder(['copy', '--from', from, ...to, '--no-require-sigs', upper], options);
    assert.equal(fetched.status, 0, fetched.stderr);
    await here.run('nix-store', ['--verify', '--check-contents']);
    assert.equal(await here.run('nix-store', ['--query', '--references', upper]), lower);
  });

  await t.test('another host key, a missing program and no login are told apart', async () => {
    const ask = (uri: string) => larder(['store', 'query', '--store', uri, '--all'], options);
    const other = Buffer.from(server.hostKey.replace(/.{8}$/, 'AAAAAAAA')).toString('base64');
    const stranger = await ask(server.storeUri({ 'base64-ssh-public-host-key': other }));
    assert.equal(stranger.status, 1);
    assert.match(stranger.stderr, /not reached by ssh: .*[Hh]ost key/s);
    const absent = await ask(server.storeUri({ 'remote-program': '/nowhere/nix-daemon' }));
    assert.match(absent.stderr, /has no program that serves its store/);
    const unknown = await ask(server.storeUri({ 'ssh-key': '/nowhere/key' }));
    assert.match(unknown.stderr, /not reached by ssh: .*Permission denied/s);
  });
});
