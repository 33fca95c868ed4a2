import assert from 'node:assert/strict';
import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { TestServer } from '../running.js';
import { bare, commitOf, samplePath } from '../sample-path.js';

const MIB = 2 ** 20;
const API = '/api/v1/caches/main';

interface Flood {
  readonly sent: ClientRequest;
  /** The status; 0 where the connection broke. */
  readonly answered: Promise<{ readonly status: number; readonly retryAfter: string | undefined }>;
}

function begin(server: TestServer, method: string, path: string, length: number): Flood {
  const sent = request(`${server.url}${path}`, {
    method,
    agent: false,
    headers: { authorization: `Bearer ${server.token}`, 'content-length': length },
  });
  const answered = new Promise<IncomingMessage | undefined>((resolve) => {
    sent.once('response', resolve);
    sent.on('error', () => resolve(undefined));
  }).then((answer) => {
    answer?.resume();
    return { status: answer?.statusCode ?? 0, retryAfter: answer?.headers['retry-after'] };
  });
  sent.flushHeaders();
  return { sent, answered };
}

async function metric(server: TestServer, name: string): Promise<number> {
  const text = await (await server.fetch('/metrics')).text();
  const line = text.split('\n').find((each) => each.startsWith(`${name} `));
  return Number(line?.slice(name.length + 1));
}

test('500 clients who send large bodies slowly take bounded memory, and keep out nobody', async () => {
  await using server = await TestServer.start({
    toml: '[limits]\nbodies = "16 MiB"\njson = "8 MiB"\npatience = "1 s"\n',
  });
  const { bodies } = server.running.services;
  // Unbroken white space is JSON as far as it goes.
  const piece = Buffer.alloc(64 * 1024, ' ');
  const slow = Array.from({ length: 500 }, () => begin(server, 'POST', `${API}/missing`, 8 * MIB));
  let most = 0;
  const watch = setInterval(() => {
    most = Math.max(most, bodies.held);
  }, 5);
  for (let round = 0; round < 3; round++) {
    for (const { sent } of slow) sent.write(piece);
    await delay(50);
  }
  // All of them together have sent 94 MiB.
  const path = samplePath('flooded');
  const put = await server.put(`${API}/nars/${bare(path.narHash)}`, path.nar);
  assert.equal(put.status, 201);
  const answers = await Promise.all(
    Array.from({ length: 20 }, () => server.post(`${API}/missing`, { paths: [path.storePath] })),
  );
  for (const answer of answers) assert.ok([200, 503].includes(answer.status));
  const committed = await retried(() => server.post(`${API}/commit`, { paths: [commitOf(path)] }));
  assert.equal(committed.status, 200);
  // One at a time may go beyond it by what its text is read to: here, a few hundred bytes.
  assert.ok(most <= 16.1 * MIB, `${most} bytes`);
  assert.ok(most > 8 * MIB, `${most} bytes`);
  const ends = await Promise.race([Promise.any(slow.map(({ answered }) => answered)), delay(30_000)]);
  assert.ok(ends !== undefined && [0, 503].includes(ends.status), 'the slow give way');
  assert.ok((await metric(server, 'larder_overloads_total{by="body"}')) > 0);
  for (const { sent } of slow) sent.destroy();
  await Promise.all(slow.map(({ answered }) => answered));
  while (bodies.held > 0) await delay(10);
  clearInterval(watch);
  assert.equal((await server.fetch(`/main/${path.hashPart}.narinfo`)).status, 200);
});

/** What a client does that is told to come back. */
async function retried(send: () => Promise<Response>): Promise<Response> {
  for (let attempt = 1; ; attempt++) {
    const answer = await send();
    if (answer.status !== 503 || attempt === 20) return answer;
    assert.match(answer.headers.get('retry-after') ?? '', /^\d+$/);
    await answer.arrayBuffer();
    await delay(500);
  }
}

test('500 uploads begun at once wait for each other, and those who hear of it come back; none is lost', async () => {
  await using server = await TestServer.start({
    toml: '[uploads]\nmemory = "64 MiB"\nworkers = 2\n[limits]\npatience = "1 s"\n',
  });
  const paths = Array.from({ length: 500 }, (_, index) => samplePath(`crowd-${index}`, [], 'x'.repeat(5000)));
  const begun = paths.map((path) => ({
    path,
    ...begin(server, 'PUT', `/main/nar/${bare(path.narHash)}.nar`, path.nar.length),
  }));
  for (const { sent, path } of begun) sent.write(path.nar.subarray(0, 3000));
  while ((await metric(server, 'larder_uploads_waiting')) === 0) await delay(20);
  // A stock upload says nothing of its size: 19 MiB each.
  assert.ok((await metric(server, 'larder_uploads_running')) <= 3);
  assert.ok((await metric(server, 'larder_upload_bytes')) <= 64 * MIB);
  // Most of them go away again.
  const staying = begun.filter((_, index) => index % 5 === 0);
  for (const each of begun) if (!staying.includes(each)) each.sent.destroy();
  for (const { sent, path } of staying) sent.end(path.nar.subarray(3000));
  const statuses = await Promise.all(staying.map(({ answered }) => answered));
  for (const { status } of statuses) assert.ok([204, 503, 0].includes(status), `${status}`);
  const again = staying.filter((_, index) => statuses[index]?.status !== 204);
  for (const { path } of again) {
    const answer = await retried(() => server.put(`/main/nar/${bare(path.narHash)}.nar`, path.nar));
    assert.equal(answer.status, 204);
  }
  const committed = await server.post(`${API}/commit`, { paths: staying.map(({ path }) => commitOf(path)) });
  assert.equal(committed.status, 200, await committed.text());
  assert.equal(await metric(server, 'larder_upload_bytes'), 0);
});

test('uploads that hold their places hold up others for a while only, and leave nothing', async () => {
  await using server = await TestServer.start({
    toml: '[uploads]\nmemory = "20 MiB"\n[timeouts]\nidle = "1 s"\n',
  });
  const stalled = samplePath('stalled', [], 'x'.repeat(5000));
  const { sent, answered } = begin(
    server,
    'PUT',
    `/main/nar/${bare(stalled.narHash)}.nar`,
    stalled.nar.length,
  );
  sent.write(stalled.nar.subarray(0, 3000));
  while ((await metric(server, 'larder_uploads_running')) === 0) await delay(20);
  const path = samplePath('next');
  const put = await server.put(`/main/nar/${bare(path.narHash)}.nar`, path.nar);
  assert.equal(put.status, 204, 'it waited until the other was given up');
  assert.ok([0, 400].includes((await answered).status));
  sent.destroy();
});
