import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorOf, TestServer } from './running.js';

test('who asks too often is told when to come back', async () => {
  await using server = await TestServer.start({
    toml: '[rate_limits]\nper_address = 3\nwindow = "1 h"\ntrust_forwarded_for = true',
  });
  const ask = (address: string, authorization = 'Bearer made-up') =>
    fetch(`${server.url}/main/nix-cache-info`, {
      headers: { 'x-forwarded-for': `203.0.113.99, ${address}`, authorization },
    });
  for (const left of ['2', '1', '0']) {
    const answer = await ask('203.0.113.1', `Bearer ${left}`);
    assert.deepEqual([answer.status, answer.headers.get('ratelimit-remaining')], [200, left]);
    await answer.arrayBuffer();
  }
  const refused = await ask('203.0.113.1');
  const seconds = Number(refused.headers.get('retry-after'));
  assert.ok(seconds > 0 && seconds <= 3600, `${seconds}`);
  assert.deepEqual([(await errorOf(refused)).status, refused.headers.get('ratelimit-limit')], [429, '3']);
  const other = await ask('203.0.113.2');
  assert.equal(other.status, 200, 'another address');
  await other.arrayBuffer();
  const health = await fetch(`${server.url}/healthz`, { headers: { 'x-forwarded-for': '203.0.113.1' } });
  assert.equal(health.status, 200, 'health has no limit');
  await health.arrayBuffer();
});

test('a token has a limit of its own', async () => {
  await using server = await TestServer.start({ toml: '[rate_limits]\nper_token = 2\nwindow = "1 h"' });
  const statuses = [];
  for (let count = 0; count < 3; count++) {
    const answer = await server.fetch('/api/v1/caches');
    statuses.push(answer.status);
    await answer.arrayBuffer();
  }
  assert.deepEqual(statuses, [200, 200, 429]);
  assert.equal((await fetch(`${server.url}/main/nix-cache-info`)).status, 200, 'without a token');
});
