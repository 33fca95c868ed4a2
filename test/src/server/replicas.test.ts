import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { needsComponent } from '../engines/components.js';
import { openDatabase } from '../engines/postgres.js';
import { openBucket } from '../engines/s3.js';
import { makeScratch } from '../engines/scratch.js';
import { remoteEngines } from '../engines/server-engines.js';
import { errorOf, TestServer } from './running.js';
import { bare, commitOf, narInfoOf, samplePath } from './sample-path.js';

test('two replicas on PostgreSQL and S3 are one cache', async (t) => {
  if (!needsComponent(t, 's3') || !needsComponent(t, 'postgresql')) return;
  await using bucket = await openBucket();
  await using database = await openDatabase();
  await using scratch = await makeScratch('replicas');
  const sealKey = scratch.join('seal-key');
  await writeFile(sealKey, randomBytes(32).toString('base64'));
  const toml = `${remoteEngines(bucket, database)}[keys]\nseal_key_file = "${sealKey}"\n`;
  await using first = await TestServer.start({ toml });
  // The second has no token file of its own: it is given none, and needs none.
  await using second = await TestServer.start({ toml, token: first.token });
  assert.equal(second.running.bootstrapped.madeToken, false);
  const replicas = [first, second];

  await t.test('a NAR through one, its narinfo through the other, both serve it', async () => {
    const path = samplePath('shared', [], 'x'.repeat(50_000));
    assert.equal((await first.put(`/main/nar/${bare(path.narHash)}.nar`, path.nar)).status, 204);
    assert.equal((await second.put(`/main/${path.hashPart}.narinfo`, narInfoOf(path))).status, 204);
    for (const server of replicas) {
      const narInfo = await server.fetch(`/main/${path.hashPart}.narinfo`);
      assert.equal(narInfo.status, 200);
      const nar = await server.fetch(`/main/nar/${bare(path.narHash)}.nar.zst`, {
        headers: { range: 'bytes=0-3' },
      });
      assert.deepEqual(Buffer.from(await nar.arrayBuffer()), Buffer.from([0x28, 0xb5, 0x2f, 0xfd]));
    }
  });

  await t.test('a large NAR goes up in parts, and comes back', async () => {
    const path = samplePath('large', [], randomBytes(12 * 2 ** 20).toString('latin1'));
    const hash = bare(path.narHash);
    // By either API: one knows the key while it uploads, the other only afterwards.
    const stock = samplePath('large-stock', [], randomBytes(9 * 2 ** 20).toString('latin1'));
    assert.equal((await first.put(`/api/v1/caches/main/nars/${hash}`, path.nar)).status, 201);
    assert.equal((await second.put(`/main/nar/${bare(stock.narHash)}.nar`, stock.nar)).status, 204);
    const answer = await second.post('/api/v1/caches/main/commit', { paths: [path, stock].map(commitOf) });
    assert.equal(answer.status, 200, await answer.text());
    for (const each of [path, stock]) {
      const nar = await first.fetch(`/main/nar/${bare(each.narHash)}.nar.zst`);
      const size = Number(nar.headers.get('content-length'));
      assert.equal((await nar.arrayBuffer()).byteLength, size);
    }
  });

  await t.test('both publish the same at once: neither fails, one narinfo stays', async () => {
    const base = samplePath('race-base');
    const paths = Array.from({ length: 10 }, (_, index) => samplePath(`race-${index}`, [base]));
    for (const each of [base, ...paths]) await first.put(`/main/nar/${bare(each.narHash)}.nar`, each.nar);
    const batch = { paths: [base, ...paths].map(commitOf) };
    const answers = await Promise.all(
      replicas.map((server) => server.post('/api/v1/caches/main/commit', batch)),
    );
    for (const answer of answers) assert.equal(answer.status, 200, await answer.text());
    for (const path of paths) {
      const texts = await Promise.all(
        replicas.map(async (server) => (await server.fetch(`/main/${path.hashPart}.narinfo`)).text()),
      );
      assert.equal(texts[0], texts[1]);
    }
  });

  await t.test('a pending path is published by whichever replica gets what it waits for', async () => {
    const base = samplePath('late');
    const top = samplePath('early', [base]);
    await first.put(`/main/nar/${bare(top.narHash)}.nar`, top.nar);
    assert.equal((await first.put(`/main/${top.hashPart}.narinfo`, narInfoOf(top))).status, 204);
    assert.equal((await second.fetch(`/main/${top.hashPart}.narinfo`)).status, 404);
    await second.put(`/main/nar/${bare(base.narHash)}.nar`, base.nar);
    await second.put(`/main/${base.hashPart}.narinfo`, narInfoOf(base));
    for (const server of replicas)
      assert.equal((await server.fetch(`/main/${top.hashPart}.narinfo`)).status, 200);
  });

  await t.test('uploads that are not what they say leave nothing in the bucket', async () => {
    const path = samplePath('damaged', [], randomBytes(11 * 2 ** 20).toString('latin1'));
    const wrong = '0'.repeat(52);
    const answer = await first.put(`/api/v1/caches/main/nars/${wrong}`, path.nar);
    assert.equal((await errorOf(answer)).code, 'nar-hash-mismatch');
    assert.equal((await first.fetch(`/main/nar/${wrong}.nar.zst`)).status, 404);
  });

  await t.test('a token that one revokes is refused by the other from the next request on', async () => {
    const answer = await first.post('/api/v1/tokens', { name: 'ci', caches: ['main'], scopes: ['push'] });
    const { id, token } = (await answer.json()) as { id: number; token: string };
    const ask = (server: TestServer) =>
      server.fetch(`/api/v1/caches/main/nars/${'0'.repeat(52)}`, {
        method: 'HEAD',
        headers: { authorization: `Bearer ${token}` },
      });
    // Both know it well by then: nothing they remember may count.
    for (const server of [second, first, second]) assert.equal((await ask(server)).status, 404);
    assert.equal((await first.fetch(`/api/v1/tokens/${id}`, { method: 'DELETE' })).status, 204);
    for (const server of [second, first]) assert.equal((await ask(server)).status, 401);
  });
});
