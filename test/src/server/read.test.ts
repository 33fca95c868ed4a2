import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decompress } from '@larder/signing/codec';
import { collect } from '@larder/signing/codec-sample';
import { errorOf, TestServer } from './running.js';
import { bare, commitOf, narInfoOf, samplePath } from './sample-path.js';

async function published(server: TestServer) {
  const path = samplePath('readable', [], 'x'.repeat(5000));
  await server.put(`/main/nar/${bare(path.narHash)}.nar`, path.nar);
  assert.equal((await server.put(`/main/${path.hashPart}.narinfo`, narInfoOf(path))).status, 204);
  return path;
}

test('narinfos and NARs answer GET, HEAD, conditions and ranges', async (t) => {
  const said = t.mock.method(console, 'error', () => undefined);
  await using server = await TestServer.start();
  const path = await published(server);
  const narInfoPath = `/main/${path.hashPart}.narinfo`;
  const narPath = `/main/nar/${bare(path.narHash)}.nar.zst`;
  const narInfo = await server.fetch(narInfoPath);
  const nar = Buffer.from(await (await server.fetch(narPath)).arrayBuffer());

  await t.test('a narinfo says what it is and how long it holds', async () => {
    assert.equal(narInfo.headers.get('content-type'), 'text/x-nix-narinfo');
    assert.match(narInfo.headers.get('cache-control') ?? '', /^public, max-age=\d+$/);
    const text = await narInfo.text();
    assert.match(text, new RegExp(`^URL: nar/${bare(path.narHash)}\\.nar\\.zst$`, 'm'));
    assert.match(text, /^Sig: main-1:/m);
    assert.match(text, new RegExp(`^FileSize: ${nar.length}$`, 'm'));
  });

  await t.test('a NAR is stored as zstd of what came, for ever', async () => {
    const answer = await server.fetch(narPath);
    assert.equal(answer.headers.get('content-type'), 'application/x-nix-nar');
    assert.equal(answer.headers.get('content-length'), `${nar.length}`);
    assert.equal(answer.headers.get('accept-ranges'), 'bytes');
    assert.match(answer.headers.get('cache-control') ?? '', /immutable/);
    const body = answer.body as unknown as AsyncIterable<Uint8Array>;
    assert.deepEqual(await collect(decompress(body, 'zstd')), path.nar);
  });

  await t.test('HEAD gives what GET would, without a body', async () => {
    for (const at of [narInfoPath, narPath]) {
      const [head, get] = [await server.fetch(at, { method: 'HEAD' }), await server.fetch(at)];
      assert.equal(head.status, 200);
      for (const header of ['content-length', 'content-type', 'etag', 'cache-control'])
        assert.equal(head.headers.get(header), get.headers.get(header), `${header} of ${at}`);
      assert.equal((await head.arrayBuffer()).byteLength, 0);
      await get.arrayBuffer();
    }
    assert.equal(said.mock.callCount(), 0, 'nothing tried to answer twice');
  });

  await t.test('what the client has is not sent again', async () => {
    for (const at of [narInfoPath, narPath]) {
      const etag = (await server.fetch(at, { method: 'HEAD' })).headers.get('etag') ?? '';
      assert.match(etag, /^".+"$/);
      for (const condition of [etag, `"other", W/${etag}`, '*']) {
        const answer = await server.fetch(at, { headers: { 'if-none-match': condition } });
        assert.equal(answer.status, 304, condition);
        assert.equal(answer.headers.get('etag'), etag);
      }
      const other = await server.fetch(at, { headers: { 'if-none-match': '"other"' } });
      assert.equal(other.status, 200);
      await other.arrayBuffer();
    }
  });

  await t.test('ranges', async () => {
    const size = nar.length;
    const cases: [range: string, expected: [number, number] | 'whole' | 'unsatisfiable'][] = [
      ['bytes=0-0', [0, 0]],
      ['bytes=10-19', [10, 19]],
      ['bytes=10-', [10, size - 1]],
      ['bytes=-7', [size - 7, size - 1]],
      [`bytes=5-${size + 100}`, [5, size - 1]],
      [`bytes=-${size + 100}`, [0, size - 1]],
      [`bytes=${size}-`, 'unsatisfiable'],
      ['bytes=-0', 'unsatisfiable'],
      ['bytes=9-5', 'whole'],
      ['bytes=0-1,3-4', 'whole'],
      ['lines=1-2', 'whole'],
    ];
    for (const [range, expected] of cases) {
      const answer = await server.fetch(narPath, { headers: { range } });
      const body = Buffer.from(await answer.arrayBuffer());
      if (expected === 'unsatisfiable') assert.equal(answer.status, 416, range);
      else if (expected === 'whole') assert.deepEqual([answer.status, body.length], [200, size], range);
      else {
        const [start, end] = expected;
        assert.equal(answer.status, 206, range);
        assert.equal(answer.headers.get('content-range'), `bytes ${start}-${end}/${size}`);
        assert.deepEqual(body, nar.subarray(start, end + 1));
      }
    }
  });

  await t.test('a range on the condition that the NAR is the same', async () => {
    const etag = (await server.fetch(narPath, { method: 'HEAD' })).headers.get('etag') ?? '';
    const headers = { range: 'bytes=1-2' };
    assert.equal((await server.fetch(narPath, { headers: { ...headers, 'if-range': etag } })).status, 206);
    assert.equal((await server.fetch(narPath, { headers: { ...headers, 'if-range': '"x"' } })).status, 200);
  });

  await t.test('what is not there is not there, and nobody is to remember that', async () => {
    const absent = [
      '/main/00000000000000000000000000000000.narinfo',
      '/main/00000000000000000000000000000000.ls',
      `/main/nar/${'0'.repeat(52)}.nar.zst`,
      '/main/nar/anything.nar.xz',
      '/main/log/00000000000000000000000000000000-x.drv',
      '/main/realisations/sha256:00!out.doi',
      '/main/nothing/like/it',
    ];
    for (const at of absent) {
      const answer = await server.fetch(at);
      assert.equal(answer.headers.get('cache-control'), 'no-store', at);
      assert.deepEqual([at, (await errorOf(answer)).code, answer.status], [at, 'not-found', 404]);
      assert.equal((await server.fetch(at, { method: 'HEAD' })).status, 404);
    }
  });

  await t.test('names that would climb are not there either', async () => {
    const names = [
      '/main/nar/..%2f..%2fadmin-token',
      '/main/log/%2e%2e%2f%2e%2e%2fx.drv',
      '/main/log/..',
      '/%2e%2e/x',
    ];
    for (const name of [...names, '/main/log/a%00b.drv', '/main/realisations/..%2f..%2fnix-cache-info.doi']) {
      const answer = await server.fetch(name);
      assert.ok([400, 404].includes(answer.status), `${name}: ${answer.status}`);
    }
  });

  await t.test('a commit of the same path is a no-op, and answers so', async () => {
    const answer = await server.post('/api/v1/caches/main/commit', { paths: [commitOf(path)] });
    assert.deepEqual(await answer.json(), {
      committed: 0,
      paths: [{ storePath: path.storePath, status: 'present' }],
    });
  });
});

test('health and readiness', async () => {
  await using server = await TestServer.start();
  assert.deepEqual(await (await fetch(`${server.url}/healthz`)).json(), { status: 'ok' });
  const ready = await fetch(`${server.url}/readyz`);
  assert.deepEqual(await ready.json(), { status: 'ok', database: 'ok', storage: 'ok' });
});

test('every answer names its request, as a proxy named it', async () => {
  await using server = await TestServer.start();
  const own = await fetch(`${server.url}/healthz`);
  assert.match(own.headers.get('x-request-id') ?? '', /^[0-9a-f-]{36}$/);
  const given = await fetch(`${server.url}/absent/nothing/like/it`, {
    headers: { 'x-request-id': 'proxy-17' },
  });
  assert.equal(given.headers.get('x-request-id'), 'proxy-17');
  assert.equal((await errorOf(given)).requestId, 'proxy-17');
});
