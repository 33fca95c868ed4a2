import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { CreatedToken } from '@larder/cache-server/http/admin-bodies';
import type { PinList } from '@larder/cache-server/http/pin-bodies';
import { Larder } from '../larder/larder.js';
import { type ProgramResult, runProgram, tryProgram } from '../oracle/program.js';
import { TestServer } from '../server/running.js';
import { basicSettings, Machine, needsExample } from './machine.js';

/** A machine and the cache that is to keep what it can boot. */
interface Pinned {
  readonly machine: Machine;
  readonly larder: Larder;
  readonly server: TestServer;
}

async function push({ machine, larder, server }: Pinned, ...paths: string[]): Promise<void> {
  const from = ['--store', `local?root=${machine.root}`, ...login(server)];
  await larder.run(['push', cacheOf(server), ...from, ...paths]);
}

/** Collects now, with nothing too young to go. */
async function collect({ larder, server }: Pinned): Promise<void> {
  await delay(1100); // The cache's retention is a second.
  await larder.run(['cache', 'gc', cacheOf(server), ...login(server)]);
}

/** What each pin keeps, by its name. */
async function pins({ server }: Pinned): Promise<Record<string, readonly string[]>> {
  const list = (await (await server.fetch('/api/v1/caches/main/pins')).json()) as PinList;
  return Object.fromEntries(
    list.pins.map(({ name, revisions: [newest] }) => [
      name,
      newest!.paths.map((path) => `/nix/store/${path}`),
    ]),
  );
}

function cacheOf(server: TestServer): string {
  return `${server.url}/main`;
}

function login(server: TestServer): readonly string[] {
  return ['--token-file', server.scratch.join('data/admin-token')];
}

/** How many paths of a closure the cache serves, and how many there are. */
async function served({ machine, server }: Pinned, system: string): Promise<[served: number, all: number]> {
  const query = ['--query', '--requisites', '--store', machine.root, system];
  const closure = (await runProgram('nix-store', query, { env: machine.env })).toString().trim().split('\n');
  const answers = closure.map(async (path) => {
    const hashPart = path.slice('/nix/store/'.length).slice(0, 32);
    const answer = await fetch(`${cacheOf(server)}/${hashPart}.narinfo`);
    await answer.arrayBuffer();
    return answer.ok;
  });
  return [(await Promise.all(answers)).filter((ok) => ok).length, closure.length];
}

/** `larder rebuild …` on the machine, with more in its environment. */
function rebuild(
  { machine }: Pinned,
  args: readonly string[],
  variables: Readonly<Record<string, string>> = {},
): Promise<ProgramResult> {
  const env = { ...machine.env, ...variables };
  return tryProgram(process.execPath, machine.rebuildArguments(args), { env });
}

test('what a machine can boot is pinned in its cache, and what it cannot any more is let go', async (t) => {
  if (!needsExample(t)) return;
  await using machine = await Machine.prepare([...basicSettings, 'networking.hostName = "web1";']);
  await using larder = await Larder.create();
  await using server = await TestServer.start({ toml: '[collection]\ngrace = "0 s"\n' });
  const pinned = { machine, larder, server };
  const toCache = ['--pin', cacheOf(server), ...login(server)];
  const retention = { method: 'PATCH', body: JSON.stringify({ retention: { age: 1 } }) };
  assert.ok((await server.fetch('/api/v1/caches/main', retention)).ok);
  await writeFile(larder.scratch.join('other'), 'nothing needs it\n');
  const add = ['store', 'add', '--store', `local?root=${machine.root}`, larder.scratch.join('other')];
  const other = await larder.run(add, { env: machine.env });
  await machine.rebuild('switch');
  const { system: first } = await machine.current();
  await push(pinned, first, other);
  let second = '';

  await t.test('what the cache lacks is named, and the switch is done all the same', async () => {
    await machine.configure([...basicSettings, 'networking.hostName = "web1";', 'boot.loader.timeout = 7;']);
    const { status, stderr } = await rebuild(pinned, ['switch', ...toCache]);
    assert.equal(status, 0, stderr);
    const { number, system } = await machine.current();
    assert.equal(number, 2);
    second = system;
    assert.match(stderr, new RegExp(`^warning: .* lacks ${second}: not pinned as web1\\+system-2$`, 'm'));
    assert.deepEqual(await pins(pinned), { 'web1+system-1': [first] });
  });

  await t.test('pushed later, it is pinned by the environment and a file that say where', async () => {
    await push(pinned, second);
    const file = larder.scratch.join('rebuild.toml');
    await writeFile(file, `[pin]\ncache = "http://127.0.0.1:1/none"\ntoken-file = "${login(server)[1]}"\n`);
    const env = { LARDER_REBUILD_CONFIG: file, LARDER_PIN_CACHE: cacheOf(server) };
    const { status, stderr } = await rebuild(pinned, ['pin'], env);
    assert.equal(status, 0, stderr);
    assert.match(stderr, /: 2; 1 new, 0 gone\.$/m);
    assert.deepEqual(await pins(pinned), { 'web1+system-1': [first], 'web1+system-2': [second] });
    assert.equal((await rebuild(pinned, ['pin'], env)).stderr, '', 'nothing to do, nothing said');
  });

  await t.test('a collection keeps both systems whole, and drops the rest', async () => {
    await collect(pinned);
    for (const system of [first, second]) {
      const [there, all] = await served(pinned, system);
      assert.equal(there, all, system);
    }
    assert.deepEqual(await served(pinned, other), [0, 1]);
  });

  await t.test('the pin of a generation that is gone goes, if the token may do that', async () => {
    assert.equal((await rebuild(pinned, ['rollback', '--no-pin'])).status, 0);
    await rm(machine.path('/nix/var/nix/profiles/system-2-link'));
    const token = larder.scratch.join('token');
    const made = await server.post('/api/v1/tokens', {
      name: 'web1',
      caches: ['main'],
      scopes: ['pull', 'push'],
    });
    await writeFile(token, ((await made.json()) as CreatedToken).token);
    const refused = await rebuild(pinned, [
      'boot',
      '--rollback',
      '--to',
      '1',
      ...toCache,
      '--token-file',
      token,
    ]);
    assert.equal(refused.status, 0, refused.stderr);
    assert.match(refused.stderr, /^warning: .*the old pin web1\+system-2 stays: /m);

    const { status, stderr } = await rebuild(pinned, ['boot', '--rollback', '--to', '1', ...toCache]);
    assert.equal(status, 0, stderr);
    assert.match(stderr, /: 1; 0 new, 1 gone\.$/m);
    await collect(pinned);
    const [there, all] = await served(pinned, first);
    assert.equal(there, all);
    const [left, before] = await served(pinned, second);
    assert.ok(left < before && left > 0, `${left} of ${before}: what both need stays`);
  });

  await t.test("pins of other machines and people are none of this machine's", async () => {
    await larder.run(['pin', 'create', cacheOf(server), 'web1', first, ...login(server)]);
    const named = await rebuild(pinned, ['pin', ...toCache, '--pin-name', 'web1.example.org']);
    assert.equal(named.status, 0, named.stderr);
    assert.deepEqual(Object.keys(await pins(pinned)), ['web1', 'web1+system-1', 'web1.example.org+system-1']);
  });

  await t.test('a mistake in rebuild.toml is named', async () => {
    const file = larder.scratch.join('wrong.toml');
    await writeFile(file, '[pin]\ncaches = "x"\n');
    const { status, stderr } = await rebuild(pinned, ['pin'], { LARDER_REBUILD_CONFIG: file });
    assert.equal(status, 1);
    assert.match(stderr, /wrong\.toml: \[pin\] has cache, name, token-file, but no 'caches'/);
    assert.equal((await rebuild(pinned, ['pin'], { LARDER_REBUILD_CONFIG: '' })).status, 2);
  });

  await t.test('a server that is down fails no switch', async () => {
    await server.running.close();
    const { status, stderr } = await rebuild(pinned, ['boot', ...toCache]);
    assert.equal(status, 0, stderr);
    assert.match(stderr, /^warning: nothing was pinned: /m);
    assert.equal((await rebuild(pinned, ['pin', ...toCache])).status, 1);
  });
});
