import assert from 'node:assert/strict';
import { readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { makeScratch } from '../engines/scratch.js';
import { TestServer } from './running.js';
import { bare, commitOf, narInfoOf, type SamplePath, samplePath } from './sample-path.js';

async function publish(server: TestServer, ...paths: readonly SamplePath[]): Promise<void> {
  for (const path of paths) await server.put(`/main/nar/${bare(path.narHash)}.nar`, path.nar);
  const answer = await server.post('/api/v1/caches/main/commit', { paths: paths.map(commitOf) });
  assert.equal(answer.status, 200, await answer.text());
}

async function status(server: TestServer, path: SamplePath): Promise<number> {
  return (await server.fetch(`/main/${path.hashPart}.narinfo`, { method: 'HEAD' })).status;
}

/** A PUT whose body is sent piece by piece. */
function slowPut(server: TestServer, at: string, size: number) {
  const { promise, resolve, reject } = deferred<number>();
  const out = request(`${server.url}${at}`, {
    method: 'PUT',
    headers: { authorization: `Bearer ${server.token}`, 'content-length': size },
  });
  out.on('response', (answer) => {
    answer.resume();
    resolve(answer.statusCode ?? 0);
  });
  out.on('error', reject);
  out.flushHeaders();
  return { out, answered: promise };
}

function deferred<T>() {
  let resolve: (value: T) => void = () => {};
  let reject: (error: Error) => void = () => {};
  const promise = new Promise<T>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  promise.catch(() => undefined);
  return { promise, resolve, reject };
}

test('the first start makes a public cache, a key and an admin token, and the next makes nothing', async () => {
  await using scratch = await makeScratch('first');
  let keys: unknown;
  {
    await using server = await TestServer.start({ scratch });
    assert.deepEqual(server.running.bootstrapped.caches, ['main']);
    assert.equal(server.running.bootstrapped.madeToken, true);
    const file = scratch.join('data/admin-token');
    assert.equal((await stat(file)).mode & 0o777, 0o600);
    assert.equal((await stat(scratch.join('data/seal-key'))).mode & 0o777, 0o600);
    assert.equal((await stat(scratch.join('data/keys/main/main-1'))).mode & 0o777, 0o600);
    const answer = (await (await fetch(`${server.url}/api/v1/caches/main`)).json()) as Record<
      string,
      unknown
    >;
    keys = answer.publicKeys;
    assert.deepEqual(answer, {
      name: 'main',
      public: true,
      storeDir: '/nix/store',
      priority: 30,
      publicKeys: keys,
      url: `${server.url}/main`,
    });
  }
  await using again = await TestServer.start({ scratch });
  assert.deepEqual(again.running.bootstrapped.caches, []);
  assert.equal(again.running.bootstrapped.madeToken, false);
  const answer = (await (await fetch(`${again.url}/api/v1/caches/main`)).json()) as Record<string, unknown>;
  assert.deepEqual(answer.publicKeys, keys);
});

test('stopping lets an upload in flight finish, and takes no other', async () => {
  await using scratch = await makeScratch('stop');
  const path = samplePath('in-flight', [], 'x'.repeat(300_000));
  const server = await TestServer.start({ scratch });
  const { out, answered } = slowPut(server, `/main/nar/${bare(path.narHash)}.nar`, path.nar.length);
  out.write(path.nar.subarray(0, 100_000));
  await delay(100);
  const closed = server.running.close();
  await delay(50);
  await assert.rejects(fetch(`${server.url}/healthz`));
  out.end(path.nar.subarray(100_000));
  assert.equal(await answered, 204);
  await closed;
  await using again = await TestServer.start({ scratch });
  assert.equal((await again.put(`/main/${path.hashPart}.narinfo`, narInfoOf(path))).status, 204);
  assert.equal(await status(again, path), 200);
});

test('an upload that outlasts the deadline is ended, and leaves nothing', async () => {
  await using scratch = await makeScratch('deadline');
  const path = samplePath('endless', [], 'x'.repeat(300_000));
  const server = await TestServer.start({ scratch, toml: '[timeouts]\nshutdown = "200 ms"\n' });
  const { out, answered } = slowPut(server, `/main/nar/${bare(path.narHash)}.nar`, path.nar.length);
  out.write(path.nar.subarray(0, 100_000));
  await delay(100);
  const started = Date.now();
  await server.running.close();
  assert.ok(Date.now() - started < 15_000);
  await assert.rejects(answered);
  assert.deepEqual(await readdir(scratch.join('data/storage/.staging')), []);
});

test('a client that goes away, or silent, in the middle of an upload leaves nothing', async () => {
  await using server = await TestServer.start({ toml: '[timeouts]\nidle = "300 ms"\n' });
  const path = samplePath('broken', [], 'x'.repeat(300_000));
  const at = `/main/nar/${bare(path.narHash)}.nar`;
  const gone = slowPut(server, at, path.nar.length);
  gone.out.write(path.nar.subarray(0, 100_000));
  await delay(100);
  gone.out.destroy();
  const silent = slowPut(server, at, path.nar.length);
  silent.out.write(path.nar.subarray(0, 100_000));
  assert.equal(await silent.answered, 400);
  silent.out.destroy();
  for (let tries = 0; tries < 50; tries++) {
    if ((await readdir(server.scratch.join('data/storage/.staging'))).length === 0) break;
    await delay(20);
  }
  assert.deepEqual(await readdir(server.scratch.join('data/storage/.staging')), []);
  assert.equal((await server.put(at, path.nar)).status, 204);
});

test('a slow upload is no silent one', async () => {
  await using server = await TestServer.start({ toml: '[timeouts]\nidle = "400 ms"\n' });
  const path = samplePath('slow', [], 'x'.repeat(1000));
  const { out, answered } = slowPut(server, `/main/nar/${bare(path.narHash)}.nar`, path.nar.length);
  for (let sent = 0; sent < path.nar.length; sent += 200) {
    out.write(path.nar.subarray(sent, sent + 200));
    await delay(150);
  }
  out.end();
  assert.equal(await answered, 204);
});

test('losing the database loses no path, no key and no setting', async () => {
  await using scratch = await makeScratch('reindex');
  const base = samplePath('base');
  const top = samplePath('top', [base]);
  let before: unknown;
  let token: string;
  {
    await using server = await TestServer.start({ scratch });
    await server.addCache({ name: 'secret', public: false });
    await publish(server, base, top);
    before = await (await server.fetch('/api/v1/caches/main')).json();
    token = server.token;
  }
  for (const name of ['larder.db', 'larder.db-wal', 'larder.db-shm'])
    await rm(scratch.join('data', name), { force: true });
  await using server = await TestServer.start({ scratch });
  assert.deepEqual([...server.running.bootstrapped.caches].sort(), ['main', 'secret']);
  for (const path of [base, top]) assert.equal(await status(server, path), 200);
  const after = (await (await server.fetch('/api/v1/caches/main')).json()) as Record<string, unknown>;
  assert.deepEqual({ ...after, url: 0 }, { ...(before as object), url: 0 });
  assert.equal(server.token, token);
  assert.equal((await fetch(`${server.url}/secret/nix-cache-info`)).status, 401);
  const next = samplePath('next', [top]);
  await publish(server, next);
  assert.equal(await status(server, next), 200);
});

test('a reindex takes no path whose NAR or references are gone, and says so', async () => {
  await using scratch = await makeScratch('damaged');
  const [a, b] = [samplePath('a'), samplePath('b')];
  const [onA, onOnA] = [samplePath('on-a', [a]), samplePath('on-on-a', [samplePath('on-a', [a])])];
  {
    await using server = await TestServer.start({ scratch });
    await publish(server, a, b, onA, onOnA);
  }
  const storage = scratch.join('data/storage/main');
  await rm(`${storage}/nar/${bare(a.narHash)}.nar.zst`);
  await writeFile(`${storage}/00000000000000000000000000000000.narinfo`, 'nonsense');
  for (const name of ['larder.db', 'larder.db-wal', 'larder.db-shm'])
    await rm(scratch.join('data', name), { force: true });
  await using server = await TestServer.start({ scratch });
  assert.deepEqual(
    await Promise.all([a, b, onA, onOnA].map((path) => status(server, path))),
    [404, 200, 404, 404],
  );
});

test('keys that were lost with the database stay listed, and a new one signs', async () => {
  await using scratch = await makeScratch('keys');
  const path = samplePath('signed');
  let old: string[];
  {
    await using server = await TestServer.start({ scratch });
    await publish(server, path);
    old = ((await (await server.fetch('/api/v1/caches/main')).json()) as { publicKeys: string[] }).publicKeys;
  }
  for (const name of ['larder.db', 'larder.db-wal', 'larder.db-shm', 'keys', 'seal-key'])
    await rm(scratch.join('data', name), { force: true, recursive: true });
  await using server = await TestServer.start({ scratch });
  const { publicKeys } = (await (await server.fetch('/api/v1/caches/main')).json()) as {
    publicKeys: string[];
  };
  assert.deepEqual(publicKeys.map((key) => key.split(':')[0]).sort(), ['main-1', 'main-2']);
  assert.ok(publicKeys.includes(old[0] ?? ''));
  const next = samplePath('next', [path]);
  await publish(server, next);
  const text = await (await server.fetch(`/main/${next.hashPart}.narinfo`)).text();
  assert.match(text, /^Sig: main-2:/m);
});

test('another seal key is refused, with the way out', async () => {
  await using scratch = await makeScratch('seal');
  await (await TestServer.start({ scratch })).running.close();
  await writeFile(scratch.join('other-key'), Buffer.alloc(32, 1).toString('base64'));
  const toml = `[keys]\nseal_key_file = "${scratch.join('other-key')}"\n`;
  await assert.rejects(TestServer.start({ scratch, toml }), /seal_key_file/);
  assert.equal((await readFile(scratch.join('data/seal-key'), 'utf8')).trim().length, 44);
});
