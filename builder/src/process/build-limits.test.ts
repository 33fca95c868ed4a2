import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { BuildLimits } from './build-limits.js';

test('a limit longer than Node can wait does not end a build at once', async () => {
  const month = 30 * 24 * 60 * 60;
  using limits = new BuildLimits({ timeout: month, maxSilentTime: month });
  await sleep(20);
  assert.equal(limits.exceeded, undefined);
});

test('what ends a build first is what it ended of', async () => {
  using limits = new BuildLimits({ timeout: 0, maxSilentTime: 0.01 });
  await once(limits.signal, 'abort');
  limits.exceed({ type: 'cancelled' });
  assert.deepEqual(limits.exceeded, { type: 'silence', seconds: 0.01 });
});
