import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { CacheUsage } from '@larder/cache-server/http/admin-bodies';
import type { CollectionPage } from '@larder/cache-server/http/collection-bodies';
import { tryProgram } from '../oracle/program.js';
import { errorOf, TestServer } from './running.js';
import { bare, commitOf, narInfoOf, type SamplePath, samplePath } from './sample-path.js';

const CACHE = '/api/v1/caches/main';
/** Nothing is too young to go. */
const AT_ONCE = '[collection]\ngrace = "0 s"\n';

async function publish(server: TestServer, ...paths: SamplePath[]): Promise<void> {
  for (const path of paths) {
    const answer = await server.put(`${CACHE}/nars/${bare(path.narHash)}`, path.nar);
    assert.ok(answer.ok, await answer.text());
  }
  const answer = await server.post(`${CACHE}/commit`, { paths: paths.map(commitOf) });
  assert.equal(answer.status, 200, await answer.text());
}

async function configure(server: TestServer, change: Record<string, unknown>): Promise<void> {
  const answer = await server.fetch(CACHE, { method: 'PATCH', body: JSON.stringify(change) });
  assert.equal(answer.status, 200, await answer.text());
}

async function collect(server: TestServer, body: { dryRun?: boolean } = {}): Promise<CollectionPage> {
  const started = await server.post(`${CACHE}/collections`, body);
  assert.equal(started.status, 202, await started.clone().text());
  const { id } = (await started.json()) as CollectionPage;
  for (;;) {
    const page = (await (await server.fetch(`${CACHE}/collections/${id}`)).json()) as CollectionPage;
    if (page.finishedAt !== undefined) return page;
    await delay(20);
  }
}

async function isServed(server: TestServer, path: SamplePath): Promise<boolean> {
  const answer = await server.fetch(`/main/${path.hashPart}.narinfo`);
  await answer.arrayBuffer();
  const inBucket = existsSync(server.scratch.join(`data/storage/main/${path.hashPart}.narinfo`));
  assert.equal(inBucket, answer.status === 200, `${path.storePath} in the bucket`);
  return answer.status === 200;
}

function narFile(server: TestServer, path: SamplePath): string {
  return server.scratch.join(`data/storage/main/nar/${bare(path.narHash)}.nar.zst`);
}

async function pin(server: TestServer, name: string, path: SamplePath): Promise<void> {
  const body = JSON.stringify({ paths: [path.storePath] });
  assert.ok((await server.fetch(`${CACHE}/pins/${name}`, { method: 'PUT', body })).ok);
}

/** Two programs that share a library, and something alone. */
function samples() {
  const library = samplePath('library');
  const one = samplePath('one', [library]);
  const two = samplePath('two', [library]);
  const alone = samplePath('alone');
  return { library, one, two, alone, all: [library, one, two, alone] };
}

test('without a retention nothing goes', async () => {
  await using server = await TestServer.start({ toml: AT_ONCE });
  const { all } = samples();
  await publish(server, ...all);
  const { state, plannedPaths } = await collect(server);
  assert.deepEqual({ state, plannedPaths }, { state: 'done', plannedPaths: 0 });
  for (const path of all) assert.ok(await isServed(server, path));
});

test('what is too old goes, but for what is pinned and what that needs; a dry run says so before', async () => {
  await using server = await TestServer.start({ toml: AT_ONCE });
  const { library, one, two, alone, all } = samples();
  await publish(server, ...all);
  await pin(server, 'release', one);
  await configure(server, { retention: { age: 1 } });
  await delay(1100);

  const plan = await collect(server, { dryRun: true });
  assert.deepEqual(plan.paths.map((each) => each.path).sort(), [alone.storePath, two.storePath].sort());
  assert.equal(
    plan.plannedBytes,
    plan.paths.reduce((sum, each) => sum + each.bytes, 0),
  );
  for (const path of all) assert.ok(await isServed(server, path));

  const done = await collect(server);
  assert.deepEqual([done.plannedPaths, done.withdrawnPaths], [2, 2]);
  for (const path of [library, one]) assert.ok(await isServed(server, path), path.storePath);
  for (const path of [alone, two]) assert.ok(!(await isServed(server, path)), path.storePath);
  assert.ok(existsSync(narFile(server, two)), 'clients that remember the narinfo still get the NAR');

  await server.fetch(`${CACHE}/pins/release`, { method: 'DELETE' });
  const rest = await collect(server);
  assert.equal(rest.withdrawnPaths, 2, 'a path goes with what only it needed');
});

test('what nobody fetches goes, and what is fetched stays, with all it needs', async () => {
  await using server = await TestServer.start({ toml: AT_ONCE });
  const { library, one, two, alone, all } = samples();
  await publish(server, ...all);
  await configure(server, { retention: { unused: 2 } });
  await delay(2100);
  const database = server.running.services.database;
  await database.write.updateTable('paths').set({ last_used_at: 1 }).execute();
  await server.fetch(`/main/${one.hashPart}.narinfo`);
  await server.running.services.pathUse.flush();
  await collect(server);
  for (const path of [library, one]) assert.ok(await isServed(server, path), path.storePath);
  for (const path of [alone, two]) assert.ok(!(await isServed(server, path)), path.storePath);
});

test('of what is too much, the least recently used goes, each after what refers to it', async () => {
  await using server = await TestServer.start({ toml: AT_ONCE });
  const names = ['a', 'b', 'c', 'd'];
  const libraries = names.map((name) => samplePath(`lib-${name}`));
  const programs = names.map((name, index) => samplePath(name, [libraries[index] as SamplePath]));
  await publish(server, ...libraries, ...programs);
  const database = server.running.services.database;
  const use = (path: SamplePath, at: number) =>
    database.write
      .updateTable('paths')
      .set({ last_used_at: at, pushed_at: 1 })
      .where('hash_part', '=', path.hashPart)
      .execute();
  // The libraries were fetched long before the programs that need them.
  for (const [index, path] of libraries.entries()) await use(path, index + 1);
  for (const [index, path] of programs.entries()) await use(path, 100 + index);
  const sizes = await database.read.selectFrom('nars').select('file_size').execute();
  const total = sizes.reduce((sum, row) => sum + row.file_size, 0);
  await configure(server, { retention: { size: Math.round(total * 0.55) } });
  await collect(server);
  const served = await Promise.all([...programs, ...libraries].map((path) => isServed(server, path)));
  assert.deepEqual(served, [false, false, true, true, false, false, true, true]);
  assert.equal((await collect(server)).plannedPaths, 0, 'it fits now');
});

test('NARs go when their time is up, but one that is shared stays for the other', async () => {
  await using server = await TestServer.start({ toml: `${AT_ONCE}nar_lease = "0 s"\n` });
  const one = samplePath('shared');
  const other = { ...samplePath('other'), nar: one.nar, narHash: one.narHash };
  const alone = samplePath('alone');
  await publish(server, one, other, alone);
  for (const path of [one, alone])
    assert.equal((await server.fetch(`${CACHE}/paths/${path.storePath}`, { method: 'DELETE' })).status, 204);
  assert.ok(existsSync(narFile(server, alone)));
  const { deletedNars, deletedBytes } = await collect(server);
  assert.equal(deletedNars, 1);
  assert.ok(deletedBytes > 0);
  assert.ok(existsSync(narFile(server, one)));
  assert.ok(!existsSync(narFile(server, alone)));
  assert.ok(await isServed(server, other));
  const usage = (await (await server.fetch(`${CACHE}/usage`)).json()) as CacheUsage;
  assert.deepEqual([usage.paths, usage.nars], [1, 1]);
  await publish(server, alone);
  assert.ok(existsSync(narFile(server, alone)), 'it comes back with the next upload');
});

test('a path that is pushed again begins its time anew, however short the grace', async () => {
  await using server = await TestServer.start({ toml: AT_ONCE });
  const path = samplePath('again');
  await publish(server, path);
  await configure(server, { retention: { age: 600 } });
  const before = Date.now() - 1_800_000;
  await server.running.services.database.write
    .updateTable('paths')
    .set({ last_used_at: before, pushed_at: before })
    .execute();
  await publish(server, path);
  assert.equal((await collect(server)).withdrawnPaths, 0);
  assert.ok(await isServed(server, path));
});

test('a withdrawn path comes back with an upload that refers to it, without being sent again', async () => {
  await using server = await TestServer.start({ toml: AT_ONCE });
  const base = samplePath('base');
  const library = samplePath('library', [base]);
  await publish(server, base, library);
  await configure(server, { retention: { age: 1 } });
  await delay(1100);
  assert.equal((await collect(server)).withdrawnPaths, 2);
  assert.ok(!(await isServed(server, library)));
  const program = samplePath('program', [library]);
  const started = Date.now();
  await publish(server, program);
  for (const path of [base, library, program]) assert.ok(await isServed(server, path), path.storePath);
  const pushed = await server.running.services.database.read
    .selectFrom('paths')
    .select('pushed_at')
    .execute();
  assert.ok(
    pushed.every((row) => row.pushed_at >= started),
    'it counts as pushed: its time begins anew',
  );
  // By a stock client, too.
  await server.fetch(`${CACHE}/paths/${program.storePath}`, { method: 'DELETE' });
  const again = samplePath('again', [program]);
  await server.put(`/main/nar/${bare(again.narHash)}.nar`, again.nar);
  const answer = await server.put(`/main/${again.hashPart}.narinfo`, narInfoOf(again));
  assert.equal(answer.headers.get('larder-waiting-for'), null);
  assert.ok(await isServed(server, program));
});

test('a path that is needed is not deleted, and who keeps it is told', async () => {
  await using server = await TestServer.start();
  const { library, one, alone, all } = samples();
  await publish(server, ...all);
  await pin(server, 'keep', alone);
  const remove = (path: SamplePath) => server.fetch(`${CACHE}/paths/${path.storePath}`, { method: 'DELETE' });
  const referenced = await errorOf(await remove(library));
  assert.deepEqual([referenced.status, referenced.code, referenced.why], [409, 'path-kept', 'referenced']);
  assert.equal((referenced.referrers as string[]).length, 2);
  assert.equal((await errorOf(await remove(alone))).why, 'pinned');
  assert.equal((await remove(one)).status, 204);
  assert.equal((await remove(one)).status, 404);
  assert.equal((await server.fetch(`${CACHE}/paths/nonsense`, { method: 'DELETE' })).status, 400);
});

test('what was pushed or asked for a moment ago stays, whatever the retention', async () => {
  await using server = await TestServer.start();
  const { all } = samples();
  await publish(server, ...all);
  await configure(server, { retention: { age: 1, size: 0 } });
  await delay(1100);
  assert.equal((await collect(server)).plannedPaths, 0);
});

test('larder cache gc lists and sums, then takes out', async () => {
  await using server = await TestServer.start({ toml: AT_ONCE });
  await publish(server, ...samples().all);
  const executable = fileURLToPath(import.meta.resolve('@larder/deploy/cli/main'));
  const env = {
    PATH: process.env.PATH ?? '',
    LARDER_SERVER: server.url,
    LARDER_TOKEN_FILE: server.scratch.join('data/admin-token'),
  };
  const larder = async (...args: string[]) => {
    const { status, stdout, stderr } = await tryProgram(process.execPath, [executable, 'cache', ...args], {
      env,
    });
    assert.equal(status, 0, stderr);
    return stdout.toString();
  };
  const limits = ['--retention-unused', '30d', '--retention-size', '0', '--quota', '2GiB'];
  assert.match(
    await larder('configure', 'main', ...limits),
    /paths go when unused for 720 h 0 min, beyond 0 B\n {2}holds at most 2.1 GB\n/,
  );
  await delay(10);
  const dry = await larder('gc', 'main', '--dry-run');
  assert.match(dry, /-library {2}\d+ B, last used 20/);
  assert.match(dry, /would take out 4 paths, \d+ B\n$/);
  assert.match(await larder('gc', 'main'), /^took out 4 paths/);
  assert.match(await larder('gc', 'main', '--json'), /"plannedPaths": 0/);
  assert.doesNotMatch(
    await larder('configure', 'main', '--retention', 'none', '--quota', 'none'),
    /paths go|holds/,
  );
});

test('uploads beyond the quota are refused, by name, and leave nothing', async () => {
  await using server = await TestServer.start();
  const first = samplePath('first', [], 'x'.repeat(1000));
  await publish(server, first);
  const { narBytes } = (await (await server.fetch(`${CACHE}/usage`)).json()) as CacheUsage;
  await configure(server, { quota: narBytes + 10 });
  const second = samplePath('second', [], Array.from({ length: 999 }, (_, index) => index).join());
  for (const url of [`${CACHE}/nars/${bare(second.narHash)}`, `/main/nar/${bare(second.narHash)}.nar`]) {
    const refused = await errorOf(await server.put(url, second.nar));
    assert.deepEqual([refused.status, refused.code, refused.held], [413, 'quota-exceeded', narBytes]);
    assert.match(String(refused.message), /'main' may hold \d+ bytes/);
  }
  assert.equal((await server.put(`${CACHE}/nars/${bare(first.narHash)}`, first.nar)).status, 200, 'known');
  assert.deepEqual(await readdir(server.scratch.join('data/storage/.staging')), []);
  await configure(server, { quota: null });
  await publish(server, second);
});
