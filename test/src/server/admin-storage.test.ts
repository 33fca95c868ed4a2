import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { cp, readFile, writeFile } from 'node:fs/promises';
import { type TestContext, test } from 'node:test';
import { copyStorage } from '@larder/cache-server/admin/copy-storage';
import { exportMetadata } from '@larder/cache-server/admin/export-metadata';
import { type FaultKind, fsck } from '@larder/cache-server/admin/fsck';
import { importMetadata } from '@larder/cache-server/admin/import-metadata';
import { generateToken } from '@larder/cache-server/auth/token';
import { loadConfig } from '@larder/cache-server/config';
import { type Foundation, openFoundation, openStorage } from '@larder/cache-server/start';
import { DiskStorage } from '@larder/cache-server/storage/disk';
import { readObject } from '@larder/cache-server/storage/storage';
import { hasCode } from '@larder/signing/errors';
import { pino } from 'pino';
import { runLarder } from '../client/client.js';
import { needsComponent } from '../engines/components.js';
import { openDatabase } from '../engines/postgres.js';
import { openBucket } from '../engines/s3.js';
import { makeScratch, type Scratch } from '../engines/scratch.js';
import { remoteEngines } from '../engines/server-engines.js';
import { TestServer } from './running.js';
import { bare, commitOf, samplePath } from './sample-path.js';

const base = samplePath('base');
const top = samplePath('top', [base], 'x'.repeat(100_000));
const alone = samplePath('alone');
const hidden = samplePath('hidden');

/** A server with two caches, a pin, a token and a log. Gives the token. */
async function stockUp(server: TestServer): Promise<string> {
  await server.addCache({ name: 'secret', public: false });
  for (const [cache, paths] of [
    ['main', [base, top, alone]],
    ['secret', [hidden]],
  ] as const) {
    for (const { nar, narHash } of paths)
      assert.ok((await server.put(`/api/v1/caches/${cache}/nars/${bare(narHash)}`, nar)).ok);
    assert.ok((await server.post(`/api/v1/caches/${cache}/commit`, { paths: paths.map(commitOf) })).ok);
  }
  const pin = JSON.stringify({ paths: [top.storePath] });
  assert.ok((await server.put('/api/v1/caches/main/pins/release', pin)).ok);
  assert.ok((await server.put(`/main/log/${top.storePath}.drv`, 'built\n')).ok);
  const token = generateToken();
  await server.addToken(token, { name: 'reader', caches: ['secret'], scopes: ['pull'] });
  return token;
}

const orphans = '[uploads]\norphans = "1 ms"\n';

async function openAt(scratch: Scratch, toml: string): Promise<Foundation> {
  const file = scratch.join('larder.toml');
  await writeFile(file, toml);
  const overrides = { data: scratch.join('data') };
  const config = await loadConfig({ file, environment: {}, overrides });
  return openFoundation(config, pino({ level: 'silent' }));
}

async function dump(foundation: Foundation): Promise<string> {
  let text = '';
  await exportMetadata(foundation, async (piece) => {
    text += piece;
  });
  return text;
}

async function* bytesOf(text: string): AsyncIterable<Uint8Array> {
  // In pieces that end anywhere, within a character even.
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += 1001) yield bytes.subarray(at, at + 1001);
}

/** What the server answers, of all that was stocked. */
async function answers(server: TestServer, token: string): Promise<unknown> {
  const ask = async (path: string, credential: string) => {
    const answer = await fetch(`${server.url}${path}`, {
      headers: { authorization: `Bearer ${credential}` },
    });
    return [path, answer.status, (await answer.text()).replaceAll(server.url, 'SERVER')];
  };
  const own = [base, top, alone].map(({ hashPart }) => `/main/${hashPart}.narinfo`);
  const paths = [
    ...own,
    `/main/log/${top.storePath}.drv`,
    '/api/v1/caches/main/pins/release',
    '/api/v1/caches',
  ];
  return Promise.all([
    ...paths.map((path) => ask(path, server.token)),
    ask(`/secret/${hidden.hashPart}.narinfo`, token),
    ask(`/main/nar/${bare(top.narHash)}.nar.zst`, token),
  ]);
}

test('a server moves from SQLite and a disk to PostgreSQL and S3, and back', async (t) => {
  if (!needsComponent(t, 's3') || !needsComponent(t, 'postgresql')) return;
  await using bucket = await openBucket();
  await using database = await openDatabase();
  await using here = await makeScratch('here');
  await using there = await makeScratch('there');
  await using back = await makeScratch('back');
  let token = '';
  let before: unknown;
  {
    await using server = await TestServer.start({ scratch: here, toml: orphans });
    token = await stockUp(server);
    before = await answers(server, token);
  }
  const larder = async (...args: string[]) => {
    const { status, stdout, stderr } = await runLarder(['admin', ...args]);
    assert.equal(status, 0, `larder admin ${args.join(' ')}: ${stderr}`);
    return stdout.toString();
  };
  const config = (scratch: Scratch) => scratch.join('admin.toml');
  await writeFile(config(here), `data = "${here.join('data')}"\n${orphans}`);
  await writeFile(
    config(there),
    `data = "${there.join('data')}"\n${orphans}${remoteEngines(bucket, database)}`,
  );
  const [from, to] = [config(here), config(there)];

  await t.test('the storage: counted, copied, and gone on with', async () => {
    const storage = await DiskStorage.open(here.join('data/storage'));
    let objects = 0;
    for await (const _ of storage.list('')) objects++;
    const args = ['copy-storage', '--from', from, '--to', to, '--json'];
    const first = JSON.parse(await larder(...args)) as { copied: number; present: number };
    assert.deepEqual([first.copied, first.present], [objects, 0]);
    const note = `main/nar/${'3'.repeat(52)}.nar.zst`;
    await storage.put(note, Buffer.from('new'));
    await using target = await openStorage(await loadConfig({ file: to, environment: {} }));
    const wanted = { copied: 1, bytes: 3, present: objects };
    assert.deepEqual(await copyStorage(storage, target, { dryRun: true }), wanted);
    assert.deepEqual(await copyStorage(storage, target), wanted);
    assert.deepEqual(await copyStorage(storage, target), { copied: 0, bytes: 0, present: objects + 1 });
    await target.delete([note]);
    await storage.delete([note]);
  });

  await t.test('the database: with another seal key refused, tried, then moved', async () => {
    const file = there.join('dump.jsonl');
    await larder('export', '--config', from, '--output', file);
    const text = await readFile(file, 'utf8');
    assert.ok(!text.includes(token), 'tokens are in there as hashes');
    for (const [verb, ...args] of [
      ['export', '--output', '/dev/full'],
      ['export', '--output', '/no/dump'],
      ['import', '/no/dump'],
    ]) {
      const { status, stderr } = await runLarder(['admin', verb!, '--config', from, ...args]);
      assert.equal(status, 1);
      assert.match(stderr, /^larder: .*(no space is left|no such file)/, 'told, not thrown');
    }
    const refused = await runLarder(['admin', 'import', '--config', to, file]);
    assert.equal(refused.status, 1);
    assert.match(refused.stderr, /copy the file seal-key/);
    await cp(here.join('data/seal-key'), there.join('data/seal-key'));
    await cp(here.join('data/admin-token'), there.join('data/admin-token'));
    assert.match(await larder('import', '--config', to, file), /^paths: 4$/m);
    const again = await runLarder(['admin', 'import', '--config', to, file]);
    assert.match(again.stderr, /has caches already/);
    await using foundation = await openAt(there, orphans + remoteEngines(bucket, database));
    assert.equal(await dump(foundation), text, 'PostgreSQL gives back what SQLite gave');
  });

  await t.test('everything is as it was, and goes on', async () => {
    assert.match(
      await larder('fsck', '--config', to, '--deep'),
      /^main: 3 paths, 3 NARs of .*: all is well$/m,
    );
    await using server = await TestServer.start({
      scratch: there,
      toml: orphans + remoteEngines(bucket, database),
    });
    assert.deepEqual(await answers(server, token), before);
    // Numbers go on where they were.
    assert.equal((await server.post('/api/v1/caches', { name: 'next' })).status, 201);
    await server.addToken(generateToken(), { name: 'next', caches: ['*'], scopes: ['pull'] });
  });

  await t.test('and back', async () => {
    await using remoteOne = await openAt(there, orphans + remoteEngines(bucket, database));
    await cp(there.join('data'), back.join('data'), { recursive: true });
    await using local = await openAt(back, orphans);
    await copyStorage(remoteOne.storage, local.storage);
    const text = await dump(remoteOne);
    await importMetadata(local, bytesOf(text));
    assert.equal(await dump(local), text);
    await local[Symbol.asyncDispose]();
    await using server = await TestServer.start({ scratch: back, toml: orphans });
    assert.equal((await server.fetch('/next/nix-cache-info')).status, 200);
    const now = (await answers(server, token)) as [string, number][];
    assert.ok(now.every(([, status]) => status === 200 || status === 403));
  });
});

test('a dump that is cut, changed or of a newer Larder fills nothing', async () => {
  await using server = await TestServer.start();
  await stockUp(server);
  await using source = await openFoundation(server.config, pino({ level: 'silent' }));
  const whole = await dump(source);
  await using scratch = await makeScratch('dump');
  await cp(server.scratch.join('data/seal-key'), scratch.join('data/seal-key'), { recursive: true });
  await using target = await openAt(scratch, '');
  const lines = whole.split('\n');
  const broken: Record<string, string> = {
    nothing: '',
    'cut within a line': whole.slice(0, -10),
    'cut between lines': lines.slice(0, -4).join('\n'),
    'a row less': [...lines.slice(0, 5), ...lines.slice(6)].join('\n'),
    'another kind': '{"table":"caches","columns":["id"]}\n',
    newer: whole.replace('"001-initial"', '"001-initial","999-future"'),
    'a table of its own': whole.replace('{"table":"caches"', '{"table":"sqlite_master"'),
    'a column of its own': whole.replace(
      '"columns":["id",',
      '"columns":["id) values (1); drop table caches; --",',
    ),
    'no JSON': whole.replace('{"row"', '{row'),
  };
  for (const [what, text] of Object.entries(broken)) {
    await assert.rejects(
      importMetadata(target, bytesOf(text)),
      (error) => hasCode(error, 'dump-malformed'),
      what,
    );
    assert.deepEqual(await target.caches.list(), [], what);
  }
  const tried = await importMetadata(target, bytesOf(whole), { dryRun: true });
  assert.equal(tried.get('paths'), 4);
  assert.deepEqual(await target.caches.list(), [], 'a dry run');
  assert.deepEqual(await importMetadata(target, bytesOf(whole)), tried);
});

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
  await database.write
    .insertInto('path_references')
    .values({ cache_id: 1, hash_part: alone.hashPart, reference: '2'.repeat(32) })
    .execute();
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
  ];
  const all: FaultKind[] = [...shallow, 'nar-damaged', 'narinfo-differs'];

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
