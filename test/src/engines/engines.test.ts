import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { GetObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import pg from 'pg';
import { needsComponent } from './components.js';
import { startNginx } from './nginx.js';
import { openDatabase, startPostgres } from './postgres.js';
import { openBucket } from './s3.js';
import { makeScratch } from './scratch.js';

test('a bucket of the S3 engine keeps what was put into it', async (t) => {
  if (!needsComponent(t, 's3')) return;
  await using bucket = await openBucket();
  const key = { Bucket: bucket.bucket, Key: 'a/b c' };
  await bucket.client.send(new PutObjectCommand({ ...key, Body: 'contents' }));
  const answer = await bucket.client.send(new GetObjectCommand(key));
  assert.equal(await answer.Body?.transformToString(), 'contents');
});

test('a database of the PostgreSQL engine is empty, of its own, and gone afterwards', async (t) => {
  if (!needsComponent(t, 'postgresql')) return;
  await using engine = await startPostgres();
  let url: string;
  {
    await using database = await openDatabase();
    url = database.url;
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    const { rows } = await client.query(
      "SELECT count(*)::int AS n FROM pg_tables WHERE schemaname = 'public'",
    );
    assert.deepEqual(rows, [{ n: 0 }]);
    await client.end();
  }
  assert.ok(engine.url.startsWith('postgres://'));
  await assert.rejects(new pg.Client({ connectionString: url }).connect());
});

test('nginx serves the files of a directory', async (t) => {
  if (!needsComponent(t, 'nginx')) return;
  await using scratch = await makeScratch('root');
  await writeFile(scratch.join('x.narinfo'), 'StorePath: x\n');
  await using nginx = await startNginx(scratch.path);
  const answer = await fetch(`${nginx.url}/x.narinfo`);
  assert.equal(answer.headers.get('content-type'), 'text/x-nix-narinfo');
  assert.equal(await answer.text(), 'StorePath: x\n');
});

test('an engine ends, and its directory goes, when the test process is killed', async (t) => {
  if (!needsComponent(t, 'postgresql')) return;
  const script = `
    const { startPostgres } = await import(${JSON.stringify(new URL('./postgres.js', import.meta.url).href)});
    const engine = await startPostgres();
    console.log(engine.url);
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(child.stdout.setEncoding('utf8'), 'data')) as [string];
  const url = `${line.trim()}/postgres`;
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => undefined);
  await client.connect();
  const { rows } = await client.query<{ data_directory: string }>('SHOW data_directory');
  const directory = rows[0]?.data_directory ?? '';
  assert.ok((await promisify(execFile)('ls', [directory])).stdout.includes('PG_VERSION'));
  child.kill('SIGKILL');
  for (let tries = 0; existsSync(directory) && tries < 200; tries += 1) await delay(50);
  assert.equal(existsSync(directory), false);
  await assert.rejects(new pg.Client({ connectionString: url }).connect());
});
