import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { describe, test } from 'node:test';
import type { StorePath } from '@larder/signing/store-path';
import { addPath } from '@larder/substituter/local-store/add-path';
import { makeClosure } from '../closures/closure.js';
import { makeScratch, type Scratch } from '../engines/scratch.js';
import { runLarder, TestClient } from './client.js';
import { type FaultyCache, startFaultyCache } from './faulty-cache.js';

/** Paths in a store, and in a cache in a directory that a web server serves. */
async function prepare(scratch: Scratch): Promise<{ paths: StorePath[]; directory: string }> {
  const objects = await makeClosure(scratch.join('trees'), { seed: 'memory', paths: 5 });
  await using client = TestClient.create();
  const store = await client.openStore(scratch.join('source'));
  const paths: StorePath[] = [];
  for (const { tree } of objects) paths.push((await addPath(store, tree)).storePath);
  await store.close();
  const directory = scratch.join('cache');
  await client.copy(paths, { from: [sourceOf(scratch)], to: `file://${directory}` });
  return { paths, directory };
}

function sourceOf(scratch: Scratch): string {
  return `local?root=${scratch.join('source')}`;
}

/** Requests since the last time. */
function newRequests(server: FaultyCache, seen: { count: number }): string[] {
  const fresh = server.requests.slice(seen.count);
  seen.count = server.requests.length;
  return fresh;
}

describe('what caches answered', () => {
  test('is not asked again by the next process, until it proves wrong', async () => {
    await using scratch = await makeScratch('memory');
    const { paths, directory } = await prepare(scratch);
    await using server = await startFaultyCache(directory, () => false);
    const seen = { count: 0 };
    const fetchInto = async (store: string) => {
      await using client = TestClient.create('', { cacheHome: scratch.join('cache-home') });
      await client.copy(paths, { from: [server.url], to: `local?root=${scratch.join(store)}` });
      return newRequests(server, seen);
    };
    const asked = (requests: readonly string[]) => requests.filter((each) => !each.includes('/nar/')).length;
    assert.equal(asked(await fetchInto('first')), paths.length + 1);
    assert.equal(asked(await fetchInto('second')), 0);
    // The same paths, packed otherwise: what is remembered leads to archives that are gone.
    await rm(directory, { recursive: true });
    await using client = TestClient.create();
    await client.copy(paths, { from: [sourceOf(scratch)], to: `file://${directory}?compression=gzip` });
    assert.equal(asked(await fetchInto('third')), paths.length);
    assert.equal(asked(await fetchInto('fourth')), 0);
  });

  test('is asked again with --refresh; what is not there is not asked for again without', async () => {
    await using scratch = await makeScratch('memory');
    const { paths, directory } = await prepare(scratch);
    await using server = await startFaultyCache(directory, () => false);
    const seen = { count: 0 };
    const absent = `/nix/store/${'0'.repeat(32)}-absent`;
    const copy = async (...args: string[]) => {
      const store = `local?root=${scratch.join('store')}`;
      const verb = ['copy', '--from', server.url, '--to', store, '--no-require-sigs', ...args];
      const { status } = await runLarder(verb, { XDG_CACHE_HOME: scratch.join('cache-home') });
      return [status, newRequests(server, seen).length];
    };
    assert.deepEqual(await copy(absent), [1, 2]);
    assert.deepEqual(await copy(absent), [1, 0]);
    assert.deepEqual(await copy('--refresh', absent), [1, 1]);
    assert.deepEqual(await copy('--refresh', '--no-recursive', `/nix/store/${paths[0]}`), [0, 2]);
  });
});
