import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { runProgram, tryProgram } from '../oracle/program.js';
import { larder, Machine, needsExample } from './machine.js';

/** `larder profile …` on a machine, for the profile at `path`. */
class ProfileUser {
  readonly #machine: Machine;
  readonly #path: string;

  constructor(machine: Machine, path: string) {
    this.#machine = machine;
    this.#path = path;
  }

  try(...args: readonly string[]) {
    const where = ['--root', this.#machine.root, '--profile', this.#path];
    return tryProgram(process.execPath, [larder, 'profile', ...args, ...where], { env: this.#machine.env });
  }

  async run(...args: readonly string[]): Promise<string> {
    const { status, stdout, stderr } = await this.try(...args);
    assert.equal(status, 0, stderr);
    return stdout.toString().trim();
  }

  /** What an installed program prints: run inside the machine. */
  async say(program: string): Promise<string> {
    const args = ['--bind', this.#machine.root, '/', '--', `${this.#path}/bin/${program}`];
    return (await runProgram('bwrap', args, { env: this.#machine.env })).toString().trim();
  }
}

test('profiles: two users, two versions side by side, one copy, and back', async (t) => {
  if (!needsExample(t)) return;
  await using machine = await Machine.prepare();
  const alice = new ProfileUser(machine, '/nix/var/nix/profiles/per-user/alice/profile');
  const bob = new ProfileUser(machine, '/nix/var/nix/profiles/per-user/bob/profile');
  const include = machine.searchPath.flatMap((entry) => ['-I', entry]);

  await alice.run('install', 'hello', ...include);
  await bob.run('install', 'hello_2', ...include);
  assert.equal(await alice.say('hello'), 'Hello from version 1.0');
  assert.equal(await bob.say('hello'), 'Hello from version 2.0');

  await t.test('two users share one copy', async () => {
    await bob.run('install', 'hello', '--priority', '9', ...include);
    const copies = (await machine.store()).filter((name) => name.endsWith('-hello-1.0'));
    assert.equal(copies.length, 1);
    assert.equal(await bob.say('hello'), 'Hello from version 2.0');
  });

  await t.test('two packages with one file and one priority conflict, and nothing changes', async () => {
    const { status, stderr } = await alice.try('install', 'hello_2', ...include);
    assert.equal(status, 1);
    assert.match(stderr, /both .*hello-1\.0\/bin\/hello and .*hello-2\.0\/bin\/hello|--priority/);
    assert.equal(await alice.say('hello'), 'Hello from version 1.0');
  });

  await t.test('upgrade evaluates the source again', async () => {
    const file = machine.scratch.join('packages.nix');
    await writeFile(file, '{ tool = (import <nixpkgs> { }).hello; }');
    const carol = new ProfileUser(machine, '/nix/var/nix/profiles/per-user/carol/profile');
    await carol.run('install', '-f', file, 'tool', ...include);
    assert.equal(await carol.say('hello'), 'Hello from version 1.0');
    await writeFile(file, '{ tool = (import <nixpkgs> { }).hello_2; }');
    assert.match((await carol.try('upgrade', ...include)).stderr, /Generation 2/);
    assert.equal(await carol.say('hello'), 'Hello from version 2.0');
    assert.match((await carol.try('upgrade', ...include)).stderr, /as new as it can be/);
    const history = await carol.run('history');
    assert.match(history, /tool: absent → 1\.0/);
    assert.match(history, /Generation 2 .*current:\n {2}tool: 1\.0 → 2\.0/);
    await carol.run('rollback');
    assert.equal(await carol.say('hello'), 'Hello from version 1.0');
  });

  await t.test('remove and roll back', async () => {
    assert.match((await alice.try('remove', 'nothing')).stderr, /has no 'nothing'; it has hello/);
    await alice.run('remove', 'hello');
    assert.equal(await alice.run('list'), '');
    await alice.run('rollback');
    assert.match(await alice.run('list'), /^hello 1\.0 {2}<nixpkgs> hello$/);
    await alice.run('rollback', '--to', '2');
    assert.equal(await alice.run('list'), '');
  });

  await t.test('nothing in the store has the setuid or setgid bit', async () => {
    const found = await runProgram('find', [machine.path('/nix/store'), '-perm', '/6000']);
    assert.equal(found.toString(), '');
  });

  await t.test('the store is valid, and garbage collection keeps what profiles have', async () => {
    const store = ['--store', machine.root];
    await runProgram('nix-store', ['--verify', '--check-contents', ...store], { env: machine.env });
    await runProgram('nix-store', ['--gc', ...store], { env: machine.env });
    assert.equal(await bob.say('hello'), 'Hello from version 2.0');
    await alice.run('rollback', '--to', '1');
    assert.equal(await alice.say('hello'), 'Hello from version 1.0');
  });
});
