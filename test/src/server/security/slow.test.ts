import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { TestServer } from '../running.js';
import { bare, samplePath } from '../sample-path.js';

/** A connection that says `opening`, and then a byte of `more` now and then, until the server ends it. */
async function dribble(url: string, opening: string, more: string): Promise<string> {
  const { hostname, port } = new URL(url);
  const socket: Socket = connect(Number(port), hostname);
  await once(socket, 'connect');
  let answer = '';
  socket.on('data', (chunk: Buffer) => {
    answer += chunk.toString('latin1');
  });
  // Whether it ends the connection or breaks it is the server's choice: `once` would take the latter for a failure.
  socket.on('error', () => undefined);
  const closed = new Promise((resolve) => socket.once('close', resolve));
  socket.write(opening);
  const timer = setInterval(() => socket.write(more), 50);
  await closed;
  clearInterval(timer);
  return answer;
}

test('headers, bodies and connections that never end are ended, and hold up nobody meanwhile', async () => {
  await using server = await TestServer.start({
    toml: '[timeouts]\nheaders = "1 s"\nidle = "1 s"\nkeep_alive = "1 s"\n',
  });
  const { url, token } = server;
  const authorization = `Authorization: Bearer ${token}\r\n`;
  const put = (path: string) =>
    `PUT ${path} HTTP/1.1\r\nHost: x\r\n${authorization}Content-Length: 1000000\r\n\r\n`;
  const hash = samplePath('slow').hashPart;
  // An answer may be lost with a connection that is broken off.
  const kinds: [opening: string, more: string, answer: RegExp][] = [
    ['GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ', 'a', /^(HTTP\/1.1 408|$)/],
    ['', 'G', /^(HTTP\/1.1 4|$)/],
    ['GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n', '', /^HTTP\/1.1 200/],
    [put(`/main/${hash}.narinfo`), 'a', /^(HTTP\/1.1 400|$)/],
    [put(`/main/nar/${bare(samplePath('slow').narHash)}.nar`), '', /^(HTTP\/1.1 400|$)/],
    [put(`/main/nar/${bare(samplePath('slow').narHash)}.nar`), 'a', /^(HTTP\/1.1 4|$)/],
    [
      `POST /api/v1/caches/main/missing HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n`,
      '1\r\na\r\n',
      /^(HTTP\/1.1 400|$)/,
    ],
    // A route that reads no body: what still comes of it is not waited for.
    [put('/healthz'), 'a', /^(HTTP\/1.1 (404|405)|$)/],
  ];
  const slow = kinds.flatMap((kind) =>
    Array.from({ length: 25 }, async () => {
      const [opening, more, expected] = kind;
      assert.match(await dribble(url, opening, more), expected, JSON.stringify(opening.slice(0, 60)));
    }),
  );
  const quick = samplePath('quick');
  assert.equal((await fetch(`${url}/main/nix-cache-info`)).status, 200);
  assert.equal((await server.put(`/main/nar/${bare(quick.narHash)}.nar`, quick.nar)).status, 204);
  await Promise.all(slow);
});

test('an upload that is refused leaves its connection for the next', async () => {
  await using server = await TestServer.start();
  const { hostname, port } = new URL(server.url);
  const socket = connect(Number(port), hostname);
  let answers = '';
  socket.on('data', (chunk: Buffer) => {
    answers += chunk.toString('latin1');
  });
  const closed = new Promise<string>((resolve) => socket.once('close', () => resolve('closed')));
  const until = async (pattern: RegExp): Promise<void> => {
    while (!pattern.test(answers))
      assert.notEqual(await Promise.race([once(socket, 'data'), closed]), 'closed', answers);
  };
  const hash = bare(samplePath('refused').narHash);
  socket.write(
    `PUT /api/v1/caches/main/nars/${hash} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${server.token}\r\n` +
      `Content-Length: 20000\r\n\r\n${'x'.repeat(20_000)}`,
  );
  await until(/^HTTP\/1.1 422/);
  // Whoever sends on without end is cut off half a second later.
  await delay(800);
  socket.write('GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n');
  await until(/HTTP\/1.1 200/).finally(() => socket.destroy());
});

test('uploads that wait for their client leave the threads to others', async () => {
  await using server = await TestServer.start({ toml: '[uploads]\nworkers = 1\n' });
  const stalled = Array.from({ length: 20 }, (_, index) => {
    const path = samplePath(`stalled-${index}`, [], 'x'.repeat(1000));
    const sent = request(`${server.url}/main/nar/${bare(path.narHash)}.nar`, {
      method: 'PUT',
      headers: { authorization: `Bearer ${server.token}`, 'content-length': path.nar.length },
    });
    sent.on('error', () => undefined);
    sent.write(path.nar.subarray(0, 500));
    return { sent, rest: path.nar.subarray(500), answered: once(sent, 'response') };
  });
  const quick = samplePath('quick');
  const answer = await server.fetch(`/main/nar/${bare(quick.narHash)}.nar`, {
    method: 'PUT',
    body: quick.nar,
    signal: AbortSignal.timeout(30_000),
  });
  assert.equal(answer.status, 204);
  // None of them was given up for it.
  for (const { sent, rest, answered } of stalled) {
    sent.end(rest);
    const [response] = (await answered) as [{ statusCode: number; resume(): void }];
    response.resume();
    assert.equal(response.statusCode, 204);
  }
});
