import assert from 'node:assert/strict';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { readNetrc } from '../settings/netrc.js';
import { HttpClient } from './http-client.js';

function createClient(): HttpClient {
  return new HttpClient({
    netrc: readNetrc('/nowhere/netrc'),
    ...{ connections: 2, connectTimeout: 1000, stallTimeout: 10_000, attempts: 1, userAgent: 'test' },
  });
}

async function serve(handler: Parameters<typeof createServer>[1]) {
  const server = createServer(handler);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  return {
    url,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

test('short requests share connections: none waits for the answer to another', async () => {
  const together = 24;
  const waiting: ServerResponse[] = [];
  // Nothing is answered before all are there.
  await using server = await serve((_request, response) => {
    waiting.push(response);
    if (waiting.length === together) for (const [index, each] of waiting.entries()) each.end(`${index}`);
  });
  const client = createClient();
  try {
    const names = Array.from({ length: together }, (_, index) => `${index}`);
    const files = await Promise.all(
      names.map((name) => client.fetchSmall(new URL(name, server.url), { absent: [404], limit: 100 })),
    );
    assert.equal(new Set(files.map((file) => Buffer.from(file!).toString())).size, together);
  } finally {
    await client.close();
  }
});

test('a short file may be redirected, encoded, absent, too long or given up', async () => {
  await using server = await serve((request, response) => {
    const coded = { 'content-encoding': 'gzip' };
    if (request.url === '/moved') response.writeHead(302, { location: '/coded' }).end('elsewhere');
    else if (request.url === '/coded') response.writeHead(200, coded).end(gzipSync('text'));
    else if (request.url === '/bomb') response.writeHead(200, coded).end(gzipSync('x'.repeat(200)));
    else if (request.url === '/long') response.end('x'.repeat(200));
    else if (request.url === '/refused') response.writeHead(400).end('because');
    else if (request.url === '/round') response.writeHead(302, { location: '/round' }).end();
    else if (request.url !== '/never') response.writeHead(404).end('gone');
  });
  const client = createClient();
  const fetchText = async (name: string, signal?: AbortSignal) => {
    const file = await client.fetchSmall(new URL(name, server.url), { absent: [404], limit: 100, signal });
    return file === undefined ? undefined : Buffer.from(file).toString();
  };
  try {
    assert.equal(await fetchText('moved'), 'text');
    assert.equal(await fetchText('absent'), undefined);
    for (const name of ['long', 'bomb'])
      await assert.rejects(fetchText(name), { code: 'cache-refused', message: /longer than 100 bytes/ });
    await assert.rejects(fetchText('refused'), { code: 'cache-refused', status: 400, body: 'because' });
    await assert.rejects(fetchText('round'), {
      code: 'cache-refused',
      message: /too many or broken redirects/,
    });
    const abort = new AbortController();
    const given = fetchText('never', abort.signal);
    setTimeout(() => abort.abort(), 20);
    await assert.rejects(given, { name: 'AbortError' });
    await assert.rejects(fetchText('coded', abort.signal), { name: 'AbortError' });
  } finally {
    await client.close();
  }
});

test('what waits behind a request that another connection answered first is asked anew there', async () => {
  const behind = 12;
  let asked = 0;
  const stuck: ServerResponse[] = [];
  await using server = await serve((request, response) => {
    // The first one is never answered, so that nothing behind it on its connection is.
    if (request.url === '/stuck' && stuck.length === 0) stuck.push(response);
    else response.end(request.url);
    asked++;
  });
  const client = new HttpClient({
    netrc: readNetrc('/nowhere/netrc'),
    // A single connection for those that share one, and no second try but the client's own connection gives one.
    ...{ connections: 1, connectTimeout: 1000, stallTimeout: 60_000, attempts: 1, userAgent: 'test' },
  });
  const fetchText = async (name: string) => {
    const file = await client.fetchSmall(new URL(name, server.url), { absent: [404], limit: 100 });
    return Buffer.from(file!).toString();
  };
  try {
    // Until it is known what is slow.
    for (let count = 0; count < 20; count++) await fetchText(`/known-${count}`);
    const names = ['/stuck', ...Array.from({ length: behind }, (_, index) => `/behind-${index}`)];
    assert.deepEqual(await Promise.all(names.map(fetchText)), names);
    // The others cannot all have been asked for twice: there are five such requests at most.
    assert.ok(asked >= 20 + names.length + 1, `${asked} requests`);
    if (!stuck[0]!.destroyed) await new Promise((resolve) => stuck[0]!.once('close', resolve));
  } finally {
    await client.close();
  }
});

test('a short file that is slow is asked for where else it is; that it is not there any more counts for nothing', async () => {
  await using slow = await serve((request, response) => {
    const delay = request.url === '/late' ? 400 : 0;
    if (request.url !== '/stuck') setTimeout(() => response.end('first'), delay);
  });
  await using other = await serve((request, response) => {
    if (request.url === '/gone') response.writeHead(404).end();
    else response.end('other');
  });
  const client = createClient();
  const fetchText = async (name: string, there: string) => {
    const elsewhere = async () => ({ client, url: new URL(there, other.url) });
    const file = await client.fetchSmall(new URL(name, slow.url), { absent: [404], limit: 100, elsewhere });
    return file === undefined ? undefined : Buffer.from(file).toString();
  };
  try {
    for (let count = 0; count < 20; count++)
      assert.equal(await fetchText(`/known-${count}`, '/same'), 'first');
    assert.equal(await fetchText('/stuck', '/same'), 'other');
    assert.equal(await fetchText('/late', '/gone'), 'first');
  } finally {
    await client.close();
  }
});
