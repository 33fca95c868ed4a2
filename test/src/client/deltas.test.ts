import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { chmod, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { describe, test } from 'node:test';
import { collectDeltas } from '@larder/cache-server/deltas/delta-retention';
import { openFoundation } from '@larder/cache-server/start';
import type { DeltasResponse } from '@larder/signing/download';
import type { CopyEvent } from '@larder/substituter/copy/copy-events';
import { addNar } from '@larder/substituter/local-store/add-path';
import { pino } from 'pino';
import { makeScratch, type Scratch } from '../engines/scratch.js';
import { errorOf, TestServer } from '../server/running.js';
import { bare, commitOf, type SamplePath, samplePath } from '../server/sample-path.js';
import { runLarder, TestClient } from './client.js';
import { startFaultyRelay } from './faulty-cache.js';

/** Two versions of something that does not compress: they share all but a little of `size` bytes. */
function versions(name: string, size: number, references: readonly SamplePath[][] = [[], []]) {
  const body = randomBytes(size / 2).toString('hex');
  const [old = [], fresh = []] = references;
  return {
    old: samplePath(`${name}-1.0`, old, `${body}old`),
    fresh: samplePath(`${name}-1.1`, fresh, `fresh${body}`),
  };
}

async function publish(server: TestServer, paths: readonly SamplePath[]): Promise<void> {
  for (const path of paths)
    await server.put(`/api/v1/caches/main/nars/${bare(path.narHash)}?narSize=${path.nar.length}`, path.nar);
  const answer = await server.post('/api/v1/caches/main/commit', { paths: paths.map(commitOf) });
  assert.equal(answer.status, 200, await answer.text());
}

type Finished = Extract<CopyEvent, { readonly type: 'finished' }>;

/** Copies paths; gives how each came. */
async function copy(
  client: TestClient,
  paths: readonly SamplePath[],
  {
    from,
    scratch,
    store = 'store',
  }: { readonly from: string; readonly scratch: Scratch; readonly store?: string },
): Promise<Finished[]> {
  const finished: Finished[] = [];
  await client.copy(
    paths.map(({ storePath }) => storePath),
    {
      from: [from],
      to: `local?root=${scratch.join(store)}`,
      onEvent: (event) => event.type === 'finished' && finished.push(event),
    },
  );
  for (const path of paths) {
    const file = await readFile(`${scratch.join(store)}/nix/store/${path.storePath}`);
    assert.ok(path.nar.includes(file));
  }
  return finished;
}

describe('deltas', () => {
  test('a newer version comes as the difference to the older one, large or small, and is kept for the next', async () => {
    await using server = await TestServer.start();
    await using client = TestClient.create();
    await using scratch = await makeScratch('deltas');
    const [large, small] = [versions('large', 1_200_000), versions('small', 20_000)];
    await publish(server, [large.old, small.old, large.fresh, small.fresh]);
    const from = `${server.url}/main`;
    for (const store of ['first', 'second']) {
      await copy(client, [large.old, small.old], { from, scratch, store });
      const finished = await copy(client, [large.fresh, small.fresh], { from, scratch, store });
      assert.deepEqual(
        finished.map(({ delta, fetched, fileSize }) => delta === true && fetched! < fileSize! / 10),
        [true, true],
      );
    }
    const made = await readdir(server.scratch.join(`data/storage/main/delta/${bare(large.old.narHash)}`));
    assert.deepEqual(made, [`${bare(large.fresh.narHash)}.zst`]);
    const at = `/main/delta/${bare(large.old.narHash)}/${made[0]}`;
    const answer = await server.fetch(at, { headers: { range: 'bytes=0-9' } });
    assert.equal(answer.status, 206);
    assert.match(answer.headers.get('cache-control') ?? '', /^public.*immutable/);
  });

  test('whoever is promised deltas that take too long fetches the archives meanwhile', async () => {
    await using server = await TestServer.start();
    await using client = TestClient.create();
    await using scratch = await makeScratch('deltas');
    await using slow = await startSlowMaker(server.url);
    const [large, small] = [versions('large', 1_200_000), versions('small', 20_000)];
    await publish(server, [large.old, small.old, large.fresh, small.fresh]);
    const from = `${slow.url}/main`;
    await copy(client, [large.old, small.old], { from, scratch });
    const finished = await copy(client, [large.fresh, small.fresh], { from, scratch });
    assert.deepEqual(
      finished.map(({ delta }) => delta),
      [false, false],
    );
    assert.ok(slow.requests.some((request) => request.endsWith('/deltas')));
  });

  test('a base that is not what the database says costs nothing but the archive', async () => {
    await using server = await TestServer.start();
    await using client = TestClient.create();
    await using scratch = await makeScratch('deltas');
    const [large, small] = [versions('large', 600_000), versions('small', 9_000)];
    await publish(server, [large.old, small.old, large.fresh, small.fresh]);
    const from = `${server.url}/main`;
    await copy(client, [large.old, small.old], { from, scratch });
    for (const { old } of [large, small]) {
      const file = scratch.join(`store/nix/store/${old.storePath}`);
      await chmod(file, 0o644);
      await writeFile(file, randomBytes((await stat(file)).size));
    }
    const finished = await copy(client, [large.fresh, small.fresh], { from, scratch });
    assert.deepEqual(
      finished.map(({ delta }) => delta),
      [false, false],
    );
  });

  test('a static host serves the deltas it holds, and is not asked for ever for those it does not', async () => {
    await using server = await TestServer.start();
    await using client = TestClient.create();
    await using scratch = await makeScratch('deltas');
    const [held, lacking] = [versions('held', 2_400_000), versions('lacking', 2_400_000)];
    await publish(server, [held.old, lacking.old, held.fresh, lacking.fresh]);
    const at = `/main/delta/${bare(held.old.narHash)}/${bare(held.fresh.narHash)}.zst`;
    assert.equal((await server.fetch(at)).status, 200);
    const from = `file://${server.scratch.join('data/storage/main')}`;
    await copy(client, [held.old, lacking.old], { from, scratch });
    const finished = await copy(client, [held.fresh, lacking.fresh], { from, scratch });
    assert.deepEqual(finished.map(({ delta }) => delta).sort(), [false, true]);
  });

  test('what has no older version by name takes what stood in its place', async () => {
    await using server = await TestServer.start();
    await using client = TestClient.create();
    await using scratch = await makeScratch('deltas');
    const body = randomBytes(300_000).toString('hex');
    const [was, is] = [samplePath('libold-3', [], body), samplePath('libnew-4', [], `${body}!`)];
    const tops = versions('app', 2000, [[was], [is]]);
    await publish(server, [was, is, tops.old, tops.fresh]);
    const from = `${server.url}/main`;
    await copy(client, [tops.old], { from, scratch });
    const finished = await copy(client, [tops.fresh], { from, scratch });
    assert.equal(finished.find(({ path }) => path === is.storePath)?.delta, true);
  });

  test('a publisher makes them ahead, from a pin or a path, for servers and directories; a wrong one is refused', async () => {
    await using server = await TestServer.start();
    await using client = TestClient.create();
    await using scratch = await makeScratch('deltas');
    const { old, fresh } = versions('app', 60_000);
    await publish(server, [old]);
    const root = scratch.join('store');
    await copy(client, [old], { from: `${server.url}/main`, scratch });
    const store = await client.openStore(root);
    const { storePath, narHash, nar, references } = fresh;
    await addNar(
      store,
      { storePath, narHash, narSize: nar.length, references, signatures: [] },
      Readable.from([nar]),
    );
    await store.close();
    await server.put('/api/v1/caches/main/pins/release', JSON.stringify({ paths: [old.storePath] }));
    const tokenFile = server.scratch.join('data/admin-token');
    const at = `delta/${bare(old.narHash)}/${bare(fresh.narHash)}.zst`;
    const directory = scratch.join('directory');
    for (const [cache, from] of [
      [`${server.url}/main`, 'release'],
      [`file://${directory}`, `/nix/store/${old.storePath}`],
    ] as const) {
      const args = ['--store', `local?root=${root}`, '--token-file', tokenFile, '--delta-from', from];
      const pushed = await runLarder(['push', cache, `/nix/store/${fresh.storePath}`, ...args]);
      assert.equal(pushed.status, 0, pushed.stderr);
      assert.match(pushed.stderr, /1 deltas of/);
    }
    const wanted = [{ narHash: bare(fresh.narHash), bases: [bare(old.narHash)] }];
    const answer = await server.post('/api/v1/caches/main/deltas', { wanted });
    const { offers } = (await answer.json()) as { offers: { size: number }[] };
    const made = await readFile(`${directory}/${at}`);
    assert.deepEqual(
      offers.map(({ size }) => size),
      [made.length],
    );
    assert.ok(made.length < 2000);
    const backwards = `/main/delta/${bare(fresh.narHash)}/${bare(old.narHash)}.zst`;
    const refused = await errorOf(await server.put(backwards, made));
    assert.deepEqual([refused.status, refused.code], [422, 'delta-refused']);
    const absent = `/main/delta/${'0'.repeat(52)}/${bare(old.narHash)}.zst`;
    assert.equal((await server.put(absent, made)).status, 404);
    assert.equal((await server.put(`/main/${at}`, made, { authorization: '' })).status, 401);
  });

  test('what is not worth it is not offered, nor what is not there; malformed questions are refused', async () => {
    await using server = await TestServer.start({ toml: '[deltas]\nmax_nar = "100 KiB"\n' });
    const [one, other] = [samplePath('one-1', [], noise(5000)), samplePath('other-1', [], noise(5000))];
    const big = versions('big', 200_000);
    await publish(server, [one, other, big.old, big.fresh]);
    const ask = async (narHash: string, ...bases: string[]) => {
      const answer = await server.post('/api/v1/caches/main/deltas', { wanted: [{ narHash, bases }] });
      return ((await answer.json()) as { offers: unknown[] }).offers;
    };
    const path = `/main/delta/${bare(one.narHash)}/${bare(other.narHash)}.zst`;
    assert.equal((await server.fetch(path)).status, 404);
    assert.deepEqual(await ask(bare(other.narHash), bare(one.narHash)), []);
    assert.deepEqual(await ask(bare(big.fresh.narHash), bare(big.old.narHash)), []);
    assert.deepEqual(await ask('0'.repeat(52), bare(one.narHash)), []);
    const wrong = await errorOf(await server.post('/api/v1/caches/main/archives', { archives: [{}] }));
    assert.deepEqual(
      [wrong.status, wrong.code, wrong.field],
      [400, 'upload-malformed', 'archives[0].narHash'],
    );
  });

  test('deltas that nobody wanted, or for which there is no room, are dropped', async () => {
    await using server = await TestServer.start();
    const [first, second] = [versions('first', 40_000), versions('second', 40_000)];
    await publish(server, [first.old, first.fresh, second.old, second.fresh]);
    const path = ({ old, fresh }: typeof first) =>
      `/main/delta/${bare(old.narHash)}/${bare(fresh.narHash)}.zst`;
    for (const each of [first, second]) assert.equal((await server.fetch(path(each))).status, 200);
    await using foundation = await openFoundation(server.config, pino({ level: 'silent' }));
    const { database, storage, caches } = foundation;
    const collect = async (keep: number, maxSize: number, now = Date.now()) =>
      collectDeltas({ database, storage, retention: { keep, maxSize } }, (await caches.find('main'))!, now);
    assert.equal(await collect(1000, 2 ** 30), 0);
    const objects = async () => {
      const keys: string[] = [];
      for await (const { key } of storage.list('main/delta/')) keys.push(key);
      return keys.length;
    };
    assert.equal(await objects(), 2);
    const { size } = (await storage.head(path(second).slice(1)))!;
    assert.equal(await collect(1_000_000, size), 1);
    assert.equal(await objects(), 1);
    assert.equal(await collect(1000, 2 ** 30, Date.now() + 5000), 1);
    assert.equal(await objects(), 0);
  });
});

/** The same server, but that its deltas always take ten minutes more. */
function startSlowMaker(url: string) {
  return startFaultyRelay(url, ({ request, body }, response) => {
    if (request.url?.endsWith('/deltas') !== true) return false;
    const { offers } = JSON.parse(body.toString()) as DeltasResponse;
    const late = offers.map(({ narHash, base }) => ({ narHash, base, seconds: 600 }));
    response.end(JSON.stringify({ offers: late } satisfies DeltasResponse));
    return true;
  });
}

function noise(size: number): string {
  return randomBytes(size / 2).toString('hex');
}
