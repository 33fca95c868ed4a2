import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import type { DeltaOffer, DeltasRequest } from '@larder/signing/download';
import { computeHash } from '@larder/signing/hash';
import { parseStorePath, StoreDir } from '@larder/signing/store-path';
import { BinaryCache } from '../binary-cache/binary-cache.js';
import { HttpCacheFiles } from '../binary-cache/http-cache-files.js';
import { HttpClient } from '../http/http-client.js';
import { readNetrc } from '../settings/netrc.js';
import type { FoundPath } from '../source-set.js';
import { bareHash } from './delta-plan.js';
import { PromisedDeltas } from './promised-deltas.js';

const hashOf = (text: string) => computeHash('sha256', Buffer.from(text));
const bareOf = (text: string) => bareHash(hashOf(text));

/** A path of that name whose delta should be there in so many seconds. */
function promised(name: string, source: BinaryCache, seconds: number): FoundPath {
  const storePath = parseStorePath(`${'0'.repeat(31)}1-${name}`);
  const info = { storePath, narHash: hashOf(name), narSize: 2_000_000, references: [], signatures: [] };
  const base = { storePath, narHash: hashOf(`${name}, old`), narSize: 2_000_000 };
  return { info, source, delta: { base, size: undefined, due: performance.now() + seconds * 1000 } };
}

describe('deltas that are being made', () => {
  const http = new HttpClient({
    netrc: readNetrc('/nowhere/netrc'),
    ...{ connections: 5, connectTimeout: 5000, stallTimeout: 5000, attempts: 1, userAgent: 'test' },
  });
  /** What the server says of each, by the question: the last answer stands. */
  let answers: DeltaOffer[][] = [];
  let server: Server;
  let cache: BinaryCache;

  before(async () => {
    server = createServer((request, response) => {
      if (request.method === 'GET') {
        response.setHeader('larder-api', '1');
        response.end('StoreDir: /nix/store\n');
        return;
      }
      void json(request).then((body) => {
        const asked = (body as DeltasRequest).wanted.map(({ narHash }) => narHash);
        const offers = (answers.length > 1 ? answers.shift() : answers[0]) ?? [];
        response.end(JSON.stringify({ offers: offers.filter(({ narHash }) => asked.includes(narHash)) }));
      });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/main/`);
    cache = new BinaryCache(new HttpCacheFiles(url.href, url, http), {
      storeDir: new StoreDir('/nix/store'),
    });
    await cache.info();
  });

  after(async () => {
    await http.close();
    server.close();
  });

  const offer = (name: string, rest: Partial<DeltaOffer>): DeltaOffer => ({
    narHash: bareOf(name),
    base: bareOf(`${name}, old`),
    ...rest,
  });

  test('one that gets done is taken, one that comes to nothing or hardly shrinks is not', async () => {
    answers = [
      [offer('a', { seconds: 0.01 }), offer('b', { seconds: 0.01 }), offer('c', { size: 1_900_000 })],
      [offer('a', { size: 1000 })],
    ];
    const deltas = new PromisedDeltas({ isIdle: () => false });
    const decided = await Promise.all(
      ['a', 'b', 'c'].map((name) => deltas.decide(promised(name, cache, 0.01))),
    );
    assert.deepEqual(
      decided.map(({ delta }) => delta?.size),
      [1000, undefined, undefined],
    );
    assert.deepEqual(
      decided.map(({ delta }) => delta?.due),
      [undefined, undefined, undefined],
    );
  });

  test('with nothing else to do, what the server will make last is fetched whole, and what is soon done waited for', async () => {
    answers = [
      [offer('last', { seconds: 500 }), offer('soon', { seconds: 0.01 }), offer('late', { seconds: 400 })],
    ];
    const order: string[] = [];
    const deltas = new PromisedDeltas({ isIdle: () => true });
    const decide = async (name: string, seconds: number) => {
      const { delta } = await deltas.decide(promised(name, cache, seconds));
      order.push(name);
      return delta?.size;
    };
    const all = [decide('soon', 0.01), decide('late', 400), decide('last', 500)];
    assert.deepEqual(await Promise.all(all.slice(1)), [undefined, undefined]);
    assert.deepEqual(order, ['last', 'late']);
    answers = [[offer('soon', { size: 2000 })]];
    assert.equal(await all[0], 2000);
  });

  test('with other things to fetch it is waited for; an end of the copy ends the waiting', async () => {
    answers = [[offer('last', { seconds: 500 })]];
    const abort = new AbortController();
    const deltas = new PromisedDeltas({ isIdle: () => false, signal: abort.signal });
    const decided = deltas.decide(promised('last', cache, 500));
    const first = await Promise.race([decided, new Promise((resolve) => setTimeout(resolve, 300, 'waits'))]);
    assert.equal(first, 'waits');
    abort.abort();
    assert.equal((await decided).delta, undefined);
  });
});
