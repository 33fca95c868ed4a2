import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { tryProgram } from '../oracle/program.js';
import { errorOf, TestServer } from './running.js';
import { bare, commitOf, type SamplePath, samplePath } from './sample-path.js';

const CACHE = '/api/v1/caches/main';

async function publish(server: TestServer, paths: readonly SamplePath[], signatures: string[] = []) {
  for (const path of paths) await server.put(`/main/nar/${bare(path.narHash)}.nar`, path.nar);
  const commits = paths.map((path) => ({ ...commitOf(path), signatures }));
  assert.equal((await server.post(`${CACHE}/commit`, { paths: commits })).status, 200);
}

function signersOf(text: string): (string | undefined)[] {
  return [...text.matchAll(/^Sig: ([^:]+):/gm)].map((match) => match[1]);
}

async function read(server: TestServer, path: SamplePath): Promise<(string | undefined)[]> {
  return signersOf(await (await server.fetch(`/main/${path.hashPart}.narinfo`)).text());
}

async function readBucket(server: TestServer, path: SamplePath): Promise<(string | undefined)[]> {
  const file = server.scratch.join(`data/storage/main/${path.hashPart}.narinfo`);
  return signersOf(await readFile(file, 'utf8'));
}

test('a new key signs what is read, in the bucket as well, and leaves others alone', async () => {
  await using server = await TestServer.start();
  const paths = [samplePath('one'), samplePath('two')];
  const [one, two] = paths as [SamplePath, SamplePath];
  await publish(server, paths);
  await server.post(`${CACHE}/keys`, { name: 'main-2' });
  assert.deepEqual((await read(server, one)).sort(), ['main-1', 'main-2']);
  for (let tries = 0; tries < 500 && (await readBucket(server, one)).length < 2; tries++) await delay(20);
  assert.deepEqual((await readBucket(server, one)).sort(), ['main-1', 'main-2']);
  assert.deepEqual(await readBucket(server, two), ['main-1'], 'nobody read it');
});

test('larder cache key resign signs all anew, and drops retired keys when asked', async () => {
  await using server = await TestServer.start();
  const paths = Array.from({ length: 230 }, (_, index) => samplePath(`path-${index}`));
  await publish(server, paths);
  const executable = fileURLToPath(import.meta.resolve('@larder/deploy/cli/main'));
  const env = {
    PATH: process.env.PATH ?? '',
    LARDER_SERVER: server.url,
    LARDER_TOKEN_FILE: server.scratch.join('data/admin-token'),
  };
  const larder = async (...args: string[]) => {
    const { status, stdout, stderr } = await tryProgram(
      process.execPath,
      [executable, 'cache', 'key', ...args],
      { env },
    );
    assert.equal(status, 0, stderr);
    return stdout.toString();
  };
  await larder('add', 'main');
  assert.equal(await larder('resign', 'main'), 'signed 230 of 230 paths anew\n');
  for (const path of paths.slice(0, 5))
    assert.deepEqual((await readBucket(server, path)).sort(), ['main-1', 'main-2']);
  assert.equal(await larder('resign', 'main'), 'signed 0 of 230 paths anew\n');
  assert.equal(
    (await errorOf(await server.fetch(`${CACHE}/keys/main-1`, { method: 'DELETE' }))).code,
    'key-in-use',
  );
  await larder('retire', 'main', 'main-1');
  assert.equal(await larder('resign', 'main', '--drop-retired'), 'signed 230 of 230 paths anew\n');
  const [first] = paths as [SamplePath];
  assert.deepEqual(await readBucket(server, first), ['main-2']);
  assert.deepEqual(await read(server, first), ['main-2']);
  await larder('remove', 'main', 'main-1');
  const { publicKeys } = (await (await server.fetch(CACHE)).json()) as { publicKeys: string[] };
  assert.deepEqual(
    publicKeys.map((key) => key.split(':')[0]),
    ['main-2'],
  );
});
