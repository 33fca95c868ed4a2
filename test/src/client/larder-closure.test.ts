import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { describe, test } from 'node:test';
import { parseNarInfos } from '@larder/signing/download';
import { parseNarInfo } from '@larder/signing/narinfo';
import type { StorePath } from '@larder/signing/store-path';
import { makeScratch } from '../engines/scratch.js';
import { errorOf, TestServer } from '../server/running.js';
import { bare, commitOf, type SamplePath, samplePath } from '../server/sample-path.js';
import { defaultStoreDir } from '../store-dir.js';
import { TestClient } from './client.js';

/** Each refers to the one before: a walk would take as many round trips. */
function chain(length: number): SamplePath[] {
  const paths: SamplePath[] = [];
  for (let index = 0; index < length; index++) {
    const last = paths.at(-1);
    paths.push(samplePath(`link-${index}`, last === undefined ? [] : [last], 'x'.repeat(100 * index)));
  }
  return paths;
}

async function publish(server: TestServer, paths: readonly SamplePath[]): Promise<void> {
  for (const path of paths)
    await server.put(`/api/v1/caches/main/nars/${bare(path.narHash)}?narSize=${path.nar.length}`, path.nar);
  const answer = await server.post('/api/v1/caches/main/commit', { paths: paths.map(commitOf) });
  assert.equal(answer.status, 200, await answer.text());
}

/** What is asked over HTTP by this process while `work` runs: methods and paths. */
async function requestsDuring(work: () => Promise<unknown>): Promise<string[]> {
  const requests: string[] = [];
  const note = (message: unknown): void => {
    const { request } = message as { request: { method: string; path: string } };
    requests.push(`${request.method} ${request.path}`);
  };
  subscribe('undici:request:create', note);
  try {
    await work();
  } finally {
    unsubscribe('undici:request:create', note);
  }
  return requests;
}

async function storePaths(answer: Response): Promise<StorePath[]> {
  assert.equal(answer.status, 200);
  const found: StorePath[] = [];
  for await (const text of parseNarInfos(answer.body as unknown as AsyncIterable<Uint8Array>))
    found.push(parseNarInfo(text, defaultStoreDir).storePath);
  return found.sort();
}

describe('closures from a Larder server', () => {
  test('a closure is asked for once, and only what the store lacks', async () => {
    await using server = await TestServer.start();
    await using client = TestClient.create();
    await using scratch = await makeScratch('closure');
    const paths = chain(16);
    await publish(server, paths);
    const job = { from: [`${server.url}/main`], to: `local?root=${scratch.join('store')}` };
    for (const [top, fresh] of [
      [paths[7]!, 8],
      [paths[15]!, 8],
    ] as const) {
      const requests = await requestsDuring(async () => {
        const { copied } = await client.copy([top.storePath], job);
        assert.equal(copied.length, fresh);
      });
      const questions = requests.filter((request) => /closure|nar-?info|nix-cache/.test(request));
      assert.deepEqual(questions, ['GET /main/nix-cache-info', 'POST /api/v1/caches/main/closure']);
    }
  });

  test('the server leaves out what the client has and what it lacks itself', async () => {
    await using server = await TestServer.start();
    const paths = chain(6);
    await publish(server, paths);
    const all = paths.map(({ storePath }) => storePath).sort();
    const [top, middle] = [paths[5]!, paths[3]!];
    const ask = (what: string, body: object) => server.post(`/api/v1/caches/main/${what}`, body);
    const hashParts = [top.hashPart, '0'.repeat(32)];
    assert.deepEqual(await storePaths(await ask('closure', { hashParts })), all);
    const above = await ask('closure', { hashParts, have: middle.hashPart.slice(0, 8) });
    assert.deepEqual(await storePaths(above), [paths[4]!.storePath, top.storePath].sort());
    // What is asked for by name comes, whatever the client seems to have.
    const both = await ask('closure', { hashParts: [middle.hashPart], have: middle.hashPart.slice(0, 8) });
    assert.equal((await storePaths(both)).length, 4);
    assert.deepEqual(await storePaths(await ask('narinfos', { hashParts })), [top.storePath]);
    const malformed = await errorOf(await ask('closure', { hashParts: ['a'] }));
    assert.deepEqual([malformed.status, malformed.code], [400, 'upload-malformed']);
  });

  test('a private cache tells its closures to nobody else', async () => {
    await using server = await TestServer.start();
    await server.addCache({ name: 'secret', public: false });
    const ask = (headers: Record<string, string>) =>
      server.fetch('/api/v1/caches/secret/closure', {
        method: 'POST',
        body: JSON.stringify({ hashParts: [] }),
        headers,
      });
    assert.equal((await ask({ authorization: '' })).status, 401);
    assert.equal((await ask({})).status, 200);
  });
});
