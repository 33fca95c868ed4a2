import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { type TestContext, test } from 'node:test';
import { type FaultKind, fsck } from '@larder/cache-server/admin/fsck';
import type { Foundation } from '@larder/cache-server/start';
import { readObject } from '@larder/cache-server/storage/storage';
import { makeDelta } from '@larder/signing/delta';
import { formatRealisation } from '@larder/signing/realisation';
import type { StorePath } from '@larder/signing/store-path';
import { runLarder } from '../client/client.js';
import { needsComponent } from '../engines/components.js';
import { openDatabase } from '../engines/postgres.js';
import { openBucket } from '../engines/s3.js';
import { makeScratch, type Scratch } from '../engines/scratch.js';
import { remoteEngines } from '../engines/server-engines.js';
import { TestServer } from './running.js';
import { bare, commitOf, type SamplePath, samplePath } from './sample-path.js';
import { alone, base, hidden, openAt, orphans, stockUp, top } from './stocked-server.js';

/** Damages a server's storage and database in every way that fsck knows. */
async function damage({ storage, database }: Foundation): Promise<void> {
  const nar = `main/nar/${bare(alone.narHash)}.nar.zst`;
  const bytes = (await readObject(storage, nar)) ?? Buffer.alloc(0);
  bytes[bytes.length >> 1]! ^= 0xff;
  await storage.put(nar, bytes);
  await storage.delete([`secret/nar/${bare(hidden.narHash)}.nar.zst`, `main/${base.hashPart}.narinfo`]);
  const text = (await readObject(storage, `main/${top.hashPart}.narinfo`))?.toString() ?? '';
  await storage.put(
    `main/${top.hashPart}.narinfo`,
    Buffer.from(`${text}Sig: forged-1:${'A'.repeat(86)}==\n`),
  );
  await storage.put(`main/${'0'.repeat(32)}.narinfo`, Buffer.from('nonsense'));
  await storage.put(`main/nar/${'1'.repeat(52)}.nar.zst`, Buffer.from('nobody knows'));
  await damageBeside({ storage, database });
  await database.write
    .insertInto('path_references')
    .values({ cache_id: 1, hash_part: alone.hashPart, reference: '2'.repeat(32) })
    .execute();
}

const debugLink = (name: string) => `main/debuginfo/${name.repeat(40)}`;
const realisation = (digit: string) => `sha256:${digit.repeat(64)}!out`;
const delta = (of: SamplePath) => `main/delta/${bare(base.narHash)}/${bare(of.narHash)}.zst`;

/** Deltas, links to debug information and realisations: sound ones, and others. */
async function damageBeside({ storage, database }: Pick<Foundation, 'storage' | 'database'>): Promise<void> {
  const put = (key: string, contents: string | Uint8Array) => storage.put(key, Buffer.from(contents));
  const row = { cache_id: 1, base_hash: bare(base.narHash), created_at: 1, used_at: Date.now() };
  const sound = makeDelta(base.nar, top.nar);
  await put(delta(top), sound);
  const wrong = makeDelta(base.nar, Buffer.alloc(1000));
  await put(`main/delta/${bare(top.narHash)}/${bare(base.narHash)}.zst`, wrong);
  await put(`main/delta/${'3'.repeat(52)}/${'4'.repeat(52)}.zst`, 'nobody knows');
  await database.write
    .insertInto('deltas')
    .values([
      { ...row, nar_hash: bare(top.narHash), size: sound.length },
      { ...row, nar_hash: bare(alone.narHash), size: 1234 },
      { ...row, base_hash: bare(top.narHash), nar_hash: bare(base.narHash), size: wrong.length },
      { ...row, nar_hash: '5'.repeat(52), size: null },
    ])
    .execute();
  await put(`main/${'6'.repeat(32)}.ls`, '{}');
  const link = (narHash: string) => JSON.stringify({ archive: `../nar/${narHash}.nar.zst`, member: 'x' });
  await put(debugLink('a'), link(bare(top.narHash)));
  await put(debugLink('b'), link('7'.repeat(52)));
  await put(debugLink('c'), 'nonsense');
  const of = (id: string, outPath: StorePath) =>
    formatRealisation({ id, outPath, signatures: [], dependentRealisations: {} });
  await put(`main/realisations/${realisation('0')}.doi`, of(realisation('0'), top.storePath));
  await put(`main/realisations/${realisation('1')}.doi`, of(realisation('1'), hidden.storePath));
  const derivation = `${samplePath('derivation').storePath}.drv`;
  await put(`main/build-trace-v2/${derivation}/out.doi`, 'nonsense');
}

async function checkAndRepair(t: TestContext, scratch: Scratch, toml: string): Promise<void> {
  {
    await using server = await TestServer.start({ scratch, toml });
    await stockUp(server);
  }
  await using foundation = await openAt(scratch, toml);
  const kinds = async (deep: boolean, repair = false): Promise<FaultKind[]> =>
    (await fsck(foundation, { deep, repair })).flatMap(({ faults }) => faults.map(({ kind }) => kind)).sort();
  assert.deepEqual(await kinds(true), []);
  await damage(foundation);
  const shallow: FaultKind[] = [
    'nar-missing',
    'nar-unrecorded',
    'narinfo-missing',
    'narinfo-unrecorded',
    'reference-missing',
    'listing-unrecorded',
    'delta-missing',
    'delta-unrecorded',
  ];
  shallow.sort();
  const all: FaultKind[] = [
    ...shallow,
    ...(['nar-damaged', 'narinfo-differs', 'delta-wrong', 'debug-link-dangling'] as const),
    ...(['debug-link-dangling', 'realisation-dangling', 'realisation-dangling'] as const),
  ];

  await t.test('finds what is wrong, by contents only when asked', async () => {
    assert.deepEqual(await kinds(false), shallow);
    assert.deepEqual(await kinds(true), [...all].sort());
    assert.deepEqual(await kinds(true), [...all].sort(), 'it changed nothing');
  });
  await t.test('says so on the command line, and with its exit status', async () => {
    const { status, stdout } = await runLarder([
      'admin',
      'fsck',
      ...['--config', scratch.join('larder.toml'), '--data', scratch.join('data')],
    ]);
    assert.equal(status, 1);
    assert.match(stdout.toString(), /^secret: nar-missing: secret\/nar\/.* is not there$/m);
    assert.match(stdout.toString(), /^main: 3 paths, 3 NARs of .*: \d faults; --repair deals with them$/m);
  });
  await t.test('repairs it', async () => {
    assert.deepEqual(await kinds(true, true), [...all].sort());
    assert.deepEqual(await kinds(true), []);
    const left: string[] = [];
    for await (const { key } of foundation.storage.list('main/'))
      if (/^main\/(delta|debuginfo|realisations|build-trace-v2|log)\//.test(key)) left.push(key);
    assert.deepEqual(left.sort(), [
      debugLink('a'),
      delta(top),
      `main/log/${top.storePath}.drv`,
      `main/realisations/${realisation('0')}.doi`,
    ]);
    await foundation[Symbol.asyncDispose]();
    await using server = await TestServer.start({ scratch, toml });
    const statuses = await Promise.all(
      [base, top, alone].map(
        async ({ hashPart }) => (await server.fetch(`/main/${hashPart}.narinfo`)).status,
      ),
    );
    assert.deepEqual(statuses, [200, 200, 404]);
    assert.doesNotMatch(await (await server.fetch(`/main/${top.hashPart}.narinfo`)).text(), /forged/);
    // What was lost can be pushed again.
    assert.ok((await server.put(`/api/v1/caches/main/nars/${bare(alone.narHash)}`, alone.nar)).ok);
    assert.ok((await server.post('/api/v1/caches/main/commit', { paths: [commitOf(alone)] })).ok);
    assert.equal((await server.fetch(`/main/${alone.hashPart}.narinfo`)).status, 200);
  });
}

test('fsck, on SQLite and a disk', async (t) => {
  await using scratch = await makeScratch('fsck');
  await checkAndRepair(t, scratch, orphans);
});

test('fsck lets go of nothing that came back while it looked', async () => {
  await using scratch = await makeScratch('fsck');
  {
    await using server = await TestServer.start({ scratch, toml: orphans });
    await stockUp(server);
  }
  const file = scratch.join(`data/storage/main/nar/${bare(alone.narHash)}.nar.zst`);
  const bytes = await readFile(file);
  for (const spoil of [() => rmSync(file), () => writeFileSync(file, Buffer.alloc(bytes.length))]) {
    spoil();
    await using foundation = await openAt(scratch, orphans);
    const comesBack = () => writeFileSync(file, bytes);
    const [main] = await fsck(foundation, { deep: true, repair: true, onFault: comesBack });
    assert.deepEqual([main?.cache, main?.faults.length, main?.repaired], ['main', 1, 1]);
    assert.deepEqual(
      (await fsck(foundation, { deep: true })).flatMap(({ faults }) => faults),
      [],
    );
  }
  await using server = await TestServer.start({ scratch, toml: orphans });
  assert.equal((await server.fetch(`/main/${alone.hashPart}.narinfo`)).status, 200);
});

test('fsck, on PostgreSQL and S3', async (t) => {
  if (!needsComponent(t, 's3') || !needsComponent(t, 'postgresql')) return;
  await using bucket = await openBucket();
  await using database = await openDatabase();
  await using scratch = await makeScratch('fsck');
  await checkAndRepair(t, scratch, orphans + remoteEngines(bucket, database));
});
