import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { Agent, type ClientRequest, get, type IncomingMessage } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Larder } from '../larder/larder.js';
import { LarderServer } from '../larder/server.js';

interface Answer {
  readonly status: number;
  readonly text: string;
}

/** Asks on a connection of its own: the supervisor hands those out in turn. */
async function ask(url: string, headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
  const agent = new Agent({ keepAlive: false });
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    get(url, { agent, headers, timeout: 30_000 }, resolve)
      .once('timeout', function (this: ClientRequest) {
        this.destroy(new Error('no answer'));
      })
      .once('error', reject);
  });
  return { status: answer.statusCode ?? 0, text: (await buffer(answer)).toString() };
}

async function processesOf(server: LarderServer): Promise<number[]> {
  const children = await readFile(`/proc/${server.pid}/task/${server.pid}/children`, 'utf8');
  return children.split(' ').filter(Boolean).map(Number);
}

/** Waits until so many processes take requests; gives their ids. */
async function untilServing(server: LarderServer, count: number): Promise<number[]> {
  const authorization = `Bearer ${await server.token()}`;
  for (let at = 0; ; at++) {
    // From another address each time: none of them uses up its limit.
    const headers = { authorization, 'x-forwarded-for': `192.0.2.${at % 256}` };
    const { text } = await ask(`${server.url}/metrics`, headers);
    if (Number(/^larder_processes (\d+)$/m.exec(text)?.[1]) === count) return processesOf(server);
    await delay(100);
  }
}

test('several processes are one server', async (t) => {
  await using larder = await Larder.create();
  const config = larder.scratch.join('larder.toml');
  await writeFile(config, '[log]\nrequests = "none"\n');
  await using server = await LarderServer.start(larder, { args: ['--processes', '2', '--config', config] });
  const pids = await untilServing(server, 2);

  await t.test('metrics are the sum of all', async () => {
    for (let at = 0; at < 20; at++) assert.equal((await ask(`${server.cache}/nix-cache-info`)).status, 200);
    const { text } = await ask(`${server.url}/metrics`, { authorization: `Bearer ${await server.token()}` });
    const line = /^larder_http_requests_total\{.*route="\/\{cache\}\/nix-cache-info".*\} (\d+)$/m.exec(text);
    assert.equal(Number(line?.[1]), 20);
  });

  await t.test('one that is killed comes back; the other answers meanwhile', async () => {
    process.kill(pids[0] ?? 0, 'SIGKILL');
    // A connection that is handed over in the moment of its death is lost, as are those it has: clients ask again.
    while ((await processesOf(server)).includes(pids[0] ?? 0)) await delay(10);
    await delay(100);
    for (let at = 0; at < 10; at++) assert.equal((await ask(`${server.cache}/nix-cache-info`)).status, 200);
    const now = await untilServing(server, 2);
    assert.ok(now.includes(pids[1] ?? 0));
    assert.ok(!now.includes(pids[0] ?? 0));
  });

  await t.test('it ends gracefully, even when each of them is told to', async () => {
    for (const pid of await processesOf(server)) process.kill(pid, 'SIGTERM');
    assert.equal(await server.stop('SIGTERM'), 0);
  });
});

test('limits count over all processes', async () => {
  await using larder = await Larder.create();
  const config = larder.scratch.join('larder.toml');
  await writeFile(
    config,
    'processes = 2\n[rate_limits]\nwindow = "1 h"\nper_address = 30\ntrust_forwarded_for = true\n',
  );
  await using server = await LarderServer.start(larder, { args: ['--config', config] });
  // Until then one of them answers everything, and its own count would do.
  await untilServing(server, 2);
  const statuses = new Map<number, number>();
  for (let at = 0; at < 40; at++) {
    const { status } = await ask(`${server.cache}/nix-cache-info`);
    statuses.set(status, (statuses.get(status) ?? 0) + 1);
  }
  assert.deepEqual(Object.fromEntries(statuses), { 200: 30, 429: 10 });
});
