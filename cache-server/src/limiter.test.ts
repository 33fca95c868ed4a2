import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { KeyedLock } from './keyed-lock.js';
import { Limiter } from './limiter.js';

test('a limiter runs no more than it may, and goes on after failures', async () => {
  const limiter = new Limiter(3);
  let running = 0;
  let most = 0;
  const results = await Promise.allSettled(
    Array.from({ length: 20 }, (_, index) =>
      limiter.run(async () => {
        most = Math.max(most, ++running);
        await delay(1);
        running--;
        if (index % 4 === 0) throw new Error('no');
        return index;
      }),
    ),
  );
  assert.equal(most, 3);
  assert.equal(results.filter((result) => result.status === 'fulfilled').length, 15);
});

test('holders of a key take turns, others do not wait, and sets of keys do not deadlock', async () => {
  const lock = new KeyedLock();
  const events: string[] = [];
  const hold = (keys: string[], name: string) =>
    lock.run(keys, async () => {
      events.push(`+${name}`);
      await delay(5);
      events.push(`-${name}`);
    });
  await Promise.all([hold(['a', 'b'], 'ab'), hold(['b', 'a'], 'ba'), hold(['c'], 'c')]);
  assert.deepEqual(
    events.filter((event) => !event.endsWith('c')),
    ['+ab', '-ab', '+ba', '-ba'],
  );
  assert.ok(events.indexOf('+c') < events.indexOf('-ab'));
  await assert.rejects(lock.run(['a'], () => Promise.reject(new Error('no'))));
  assert.equal(await lock.run(['a'], () => Promise.resolve(1)), 1);
});
