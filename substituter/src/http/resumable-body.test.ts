import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { readNetrc } from '../settings/netrc.js';
import { HttpClient } from './http-client.js';
import { openResumable } from './resumable-body.js';

const FILE = randomBytes(3_000_000);
/** How far a transfer comes before it stands still. */
const PART = 1_000_000;

/** Gives the file: `/ranges` by ranges as asked, `/whole` always from its start; the first answer stands still in its middle. */
async function serveStalling() {
  const requests: { readonly path: string; readonly range: string | undefined }[] = [];
  const stalled: ServerResponse[] = [];
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { url: path = '' } = request;
    const isFirst = !requests.some((each) => each.path === path);
    const { range } = request.headers;
    requests.push({ path, range });
    response.setHeader('etag', '"this"');
    if (path === '/warm') {
      // In pieces, from which the client learns how short pauses are here.
      for (let at = 0; at < FILE.length; at += FILE.length / 60) {
        response.write(FILE.subarray(at, at + FILE.length / 60));
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
      response.end();
    } else if (isFirst) {
      stalled.push(response);
      response.setHeader('content-length', FILE.length);
      response.write(FILE.subarray(0, PART));
    } else if (path === '/ranges' && range !== undefined && request.headers['if-range'] === '"this"') {
      const start = Number(/^bytes=(\d+)-$/.exec(range)![1]);
      const span = `bytes ${start}-${FILE.length - 1}/${FILE.length}`;
      response.writeHead(206, { 'content-range': span }).end(FILE.subarray(start));
    } else response.end(FILE);
  };
  const server = createServer((request, response) => void answer(request, response));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    requests,
    stalled,
    url: new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

test('a transfer that stands still goes on over another connection from where it is, and the first one ends', async () => {
  await using server = await serveStalling();
  const client = new HttpClient({
    netrc: readNetrc('/nowhere/netrc'),
    // One try, and no other time-out that could save it.
    ...{ connections: 5, connectTimeout: 1000, stallTimeout: 60_000, attempts: 1, userAgent: 'test' },
  });
  const fetch = async (path: string): Promise<Buffer> => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of openResumable(client, new URL(path, server.url))) chunks.push(chunk);
    return Buffer.concat(chunks);
  };
  try {
    await fetch('/warm');
    const both = await Promise.all(['/ranges', '/whole'].map(fetch));
    assert.ok(both.every((file) => file.equals(FILE)));
    for (const path of ['/ranges', '/whole']) {
      const ranges = server.requests.filter((request) => request.path === path).map(({ range }) => range);
      assert.deepEqual(ranges, [undefined, `bytes=${PART}-`]);
    }
    for (const response of server.stalled) if (!response.destroyed) await once(response, 'close');
    assert.equal(client.speedOf(server.url).transfers, 0);
  } finally {
    await client.close();
  }
});
