import assert from 'node:assert/strict';
import { cp, readFile, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { copyStorage } from '@larder/cache-server/admin/copy-storage';
import { exportMetadata } from '@larder/cache-server/admin/export-metadata';
import { importMetadata } from '@larder/cache-server/admin/import-metadata';
import { generateToken } from '@larder/cache-server/auth/token';
import { loadConfig } from '@larder/cache-server/config';
import { type Foundation, openFoundation, openStorage } from '@larder/cache-server/start';
import { DiskStorage } from '@larder/cache-server/storage/disk';
import { hasCode } from '@larder/signing/errors';
import { pino } from 'pino';
import { runLarder } from '../client/client.js';
import { needsComponent } from '../engines/components.js';
import { openDatabase } from '../engines/postgres.js';
import { openBucket } from '../engines/s3.js';
import { makeScratch, type Scratch } from '../engines/scratch.js';
import { remoteEngines } from '../engines/server-engines.js';
import { TestServer } from './running.js';
import { bare } from './sample-path.js';
import { alone, base, hidden, openAt, orphans, stockUp, top } from './stocked-server.js';

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
