import assert from 'node:assert/strict';
import { readFile, rm, symlink } from 'node:fs/promises';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { PinDescription, PinList } from '@larder/cache-server/http/pin-bodies';
import { makeScratch } from '../engines/scratch.js';
import { tryProgram } from '../oracle/program.js';
import { errorOf, TestServer } from './running.js';
import { bare, commitOf, type SamplePath, samplePath } from './sample-path.js';

const PINS = '/api/v1/caches/main/pins';

async function publish(server: TestServer, ...paths: SamplePath[]): Promise<void> {
  for (const path of paths) await server.put(`/main/nar/${bare(path.narHash)}.nar`, path.nar);
  const answer = await server.post('/api/v1/caches/main/commit', { paths: paths.map(commitOf) });
  assert.equal(answer.status, 200, await answer.text());
}

function pin(server: TestServer, name: string, body: Record<string, unknown>): Promise<Response> {
  return server.fetch(`${PINS}/${name}`, { method: 'PUT', body: JSON.stringify(body) });
}

async function history(server: TestServer, name: string): Promise<PinDescription> {
  return (await (await server.fetch(`${PINS}/${name}`)).json()) as PinDescription;
}

test('a pin has a history, of which as much is kept as it says', async () => {
  await using server = await TestServer.start();
  const builds = ['one', 'two', 'three'].map((name) => samplePath(name));
  const [one, two, three] = builds as [SamplePath, SamplePath, SamplePath];
  await publish(server, ...builds);

  assert.equal((await pin(server, 'main', { paths: [one.storePath], keepLast: 2 })).status, 201);
  assert.equal((await pin(server, 'main', { paths: [one.storePath] })).status, 200, 'nothing changed');
  assert.equal((await pin(server, 'main', { paths: [two.storePath, one.storePath] })).status, 201);
  assert.equal((await pin(server, 'main', { paths: [three.storePath] })).status, 201);
  const { revisions, ...rest } = await history(server, 'main');
  assert.equal(rest.keepLast, 2);
  assert.deepEqual(
    revisions.map(({ revision, paths, kept, createdBy }) => ({ revision, paths, kept, createdBy })),
    [
      { revision: 3, paths: [three.storePath], kept: true, createdBy: 'admin-token file' },
      {
        revision: 2,
        paths: [one.storePath, two.storePath].sort(),
        kept: true,
        createdBy: 'admin-token file',
      },
      { revision: 1, paths: [one.storePath], kept: false, createdBy: 'admin-token file' },
    ],
  );
  await pin(server, 'main', { paths: [three.storePath], keepLast: null });
  assert.deepEqual(
    (await history(server, 'main')).revisions.map((each) => each.kept),
    [true, false, false],
  );
  await pin(server, 'main', { paths: [three.storePath], keepFor: 3600 });
  assert.deepEqual(
    (await history(server, 'main')).revisions.map((each) => each.kept),
    [true, true, true],
  );

  await pin(server, 'web-1', { paths: [one.storePath] });
  const { pins } = (await (await server.fetch(PINS)).json()) as PinList;
  assert.deepEqual(
    pins.map(({ name, revisions: [newest] }) => [name, newest?.revision, newest?.paths]),
    [
      ['main', 3, [three.storePath]],
      ['web-1', 1, [one.storePath]],
    ],
  );
  assert.equal((await server.fetch(`${PINS}/web-1`, { method: 'DELETE' })).status, 204);
  assert.equal((await server.fetch(`${PINS}/web-1`, { method: 'DELETE' })).status, 404);
  assert.equal((await server.fetch(`${PINS}/web-1`)).status, 404);
});

test('only what the cache has can be pinned, and under a sound name', async () => {
  await using server = await TestServer.start();
  const path = samplePath('absent');
  const refused = await errorOf(await pin(server, 'main', { paths: [path.storePath] }));
  assert.equal(refused.status, 409);
  assert.equal(refused.code, 'pin-path-missing');
  assert.deepEqual(refused.paths, [path.storePath]);
  await publish(server, path);
  const renamed = `${path.hashPart}-other`;
  assert.equal((await errorOf(await pin(server, 'main', { paths: [renamed] }))).code, 'pin-path-missing');
  for (const name of ['.hidden', '-a', 'a%20b', 'a%2Fb', 'x'.repeat(101)])
    assert.equal(
      (await errorOf(await pin(server, name, { paths: [path.storePath] }))).code,
      'pin-name-malformed',
      name,
    );
  for (const body of [{}, { paths: [] }, { paths: ['x'] }, { paths: [path.storePath], keepLast: 0 }])
    assert.equal((await pin(server, 'main', body)).status, 400, JSON.stringify(body));
  assert.equal((await server.fetch(`${PINS}/main`)).status, 404);
});

test('pins come back from the bucket when the database is lost', async () => {
  await using scratch = await makeScratch('server');
  const path = samplePath('pinned');
  {
    await using server = await TestServer.start({ scratch });
    await publish(server, path);
    await pin(server, 'gone', { paths: [path.storePath] });
    await server.fetch(`${PINS}/gone`, { method: 'DELETE' });
    await pin(server, 'main', { paths: [path.storePath], keepLast: 3, keepFor: 60 });
  }
  const file = await readFile(scratch.join('data/storage/main/larder-pins/main.json'), 'utf8');
  assert.match(file, /"keepLast": 3/);
  for (const name of ['larder.db', 'larder.db-wal', 'larder.db-shm'])
    await rm(scratch.join('data', name), { force: true });
  await using server = await TestServer.start({ scratch });
  const { keepLast, keepFor, revisions } = await history(server, 'main');
  assert.deepEqual(
    { keepLast, keepFor, paths: revisions[0]?.paths },
    { keepLast: 3, keepFor: 60, paths: [path.storePath] },
  );
  assert.equal((await server.fetch(`${PINS}/gone`)).status, 404);
});

test('larder pin, from a link that a build left to its deletion', async () => {
  await using server = await TestServer.start();
  const path = samplePath('result-1.0');
  await publish(server, path);
  await symlink(`/nix/store/${path.storePath}`, server.scratch.join('result'));
  const executable = fileURLToPath(import.meta.resolve('@larder/deploy/cli/main'));
  const env = {
    PATH: process.env.PATH ?? '',
    LARDER_SERVER: server.url,
    LARDER_TOKEN_FILE: server.scratch.join('data/admin-token'),
  };
  const larder = async (...args: string[]) => {
    const program = await tryProgram(process.execPath, [executable, 'pin', ...args], {
      env,
      cwd: server.scratch.path,
    });
    return { ...program, stdout: program.stdout.toString() };
  };
  const created = await larder('create', 'main', 'release', './result', '--keep-last', '3');
  assert.match(
    created.stdout,
    /^release {2}\(keeps the last 3\)\n {2}\* 1 .*\n {6}\/nix\/store\/.*-result-1.0\n$/,
  );
  assert.match((await larder('list', `${server.url}/main`)).stdout, /^release/);
  assert.match(
    (await larder('history', 'main', 'release')).stdout,
    /^ {2}\* 1 {2}20.* by admin-token file$/m,
  );
  const json = JSON.parse((await larder('list', 'main', '--json')).stdout) as PinDescription[];
  assert.deepEqual(json[0]?.revisions[0]?.paths, [path.storePath]);
  assert.equal((await larder('create', 'main', 'release', './result', '--keep-last', 'x')).status, 2);
  assert.equal((await larder('create', 'main', 'release', './nothing')).status, 2);
  assert.equal((await larder('delete', 'main', 'release')).status, 0);
  const again = await larder('delete', 'main', 'release');
  assert.equal(again.status, 1);
  assert.match(again.stderr, /no pin 'release'/);
});
