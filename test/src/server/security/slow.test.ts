import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { TestServer } from '../running.js';
import { bare, samplePath } from '../sample-path.js';

/** A connection that says `opening`, and then a byte of `more` now and then, until it is ended. */
async function dribble(socket: Socket, opening: string, more: string): Promise<string> {
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

function connectTo(url: string): Socket {
  const { hostname, port } = new URL(url);
  return connect(Number(port), hostname);
}

type Kind = readonly [opening: string, more: string, answer: RegExp];

function putOf(path: string, token: string): string {
  return `PUT ${path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\nContent-Length: 1000000\r\n\r\n`;
}

/**
 * Requests that are never whole, and what they are told in the end. An answer may be lost with a connection that is broken off.
 */
function slowKinds(token: string): readonly Kind[] {
  const put = (path: string) => putOf(path, token);
  const hash = samplePath('slow').hashPart;
  return [
    ['GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ', 'a', /^(HTTP\/1.1 408|$)/],
    ['GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n', '', /^HTTP\/1.1 200/],
    [put(`/main/${hash}.narinfo`), 'a', /^(HTTP\/1.1 400|$)/],
    [put(`/main/nar/${bare(samplePath('slow').narHash)}.nar`), '', /^(HTTP\/1.1 400|$)/],
    [put(`/main/nar/${bare(samplePath('slow').narHash)}.nar`), 'a', /^(HTTP\/1.1 4|$)/],
    [
      `POST /api/v1/caches/main/missing HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n`,
      '1\r\na\r\n',
      /^(HTTP\/1.1 400|$)/,
    ],
  ];
}

test('headers, bodies and connections that never end are ended', async () => {
  await using server = await TestServer.start({
    toml: '[timeouts]\nheaders = "1 s"\nidle = "1 s"\nkeep_alive = "1 s"\n',
  });
  const kinds: readonly Kind[] = [
    ...slowKinds(server.token),
    ['', 'G', /^(HTTP\/1.1 4|$)/],
    // A route that reads no body: what still comes of it is not waited for.
    [putOf('/healthz', server.token), 'a', /^(HTTP\/1.1 (404|405)|$)/],
  ];
  await Promise.all(
    kinds.map(async ([opening, more, expected]) => {
      const answer = await dribble(connectTo(server.url), opening, more);
      assert.match(answer, expected, JSON.stringify(opening.slice(0, 60)));
    }),
  );
});

test('hundreds of them hold up nobody', async () => {
  await using server = await TestServer.start();
  const many = slowKinds(server.token).flatMap((kind) => Array.from({ length: 25 }, () => kind));
  const sockets = many.map(() => connectTo(server.url));
  const ended = many.map(([opening, more], at) => dribble(sockets[at]!, opening, more));
  const first = Promise.race(ended.map((each, at) => each.then((answer) => `${many[at]![0]}: ${answer}`)));
  const quick = samplePath('quick');
  const served = (async () => {
    assert.equal((await fetch(`${server.url}/main/nix-cache-info`)).status, 200);
    assert.equal((await server.put(`/main/nar/${bare(quick.narHash)}.nar`, quick.nar)).status, 204);
    return 'served';
  })();
  // While all of them still have the time that the server gives by itself.
  assert.equal(await Promise.race([served, first]), 'served');
  for (const socket of sockets) socket.destroy();
  await Promise.all(ended);
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
