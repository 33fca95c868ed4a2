import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { hasCode } from '@larder/signing/errors';
import { BodyMemory } from './body-memory.js';

const isOverload = (error: unknown): boolean => hasCode(error, 'overloaded');

test('bodies take no more together than they may, and one that is larger comes alone', async () => {
  const memory = new BodyMemory({ limit: 100, patience: 50 });
  const large = memory.begin();
  await large.grow(90);
  await large.grow(90);
  large.complete();
  assert.equal(memory.held, 180);
  const small = memory.begin();
  await assert.rejects(small.grow(1), isOverload);
  large.release();
  large.release();
  assert.equal(memory.held, 0);
  await memory.begin().grow(100);
  assert.equal(memory.held, 100);
});

test('one that waits goes on as soon as there is room', async () => {
  const memory = new BodyMemory({ limit: 100, patience: 60_000 });
  const first = memory.begin();
  await first.grow(100);
  first.complete();
  const second = memory.begin();
  const growing = second.grow(50);
  await delay(5);
  assert.equal(second.bytes, 0);
  first.release();
  await growing;
  assert.equal(memory.held, 50);
});

test('one that takes long gives way, the oldest first; one that came whole does not', async () => {
  const refused: string[] = [];
  const memory = new BodyMemory({ limit: 100, patience: 30, onRefused: () => refused.push('x') });
  const whole = memory.begin();
  await whole.grow(30);
  whole.complete();
  const slow = memory.begin();
  await slow.grow(30);
  const slower = memory.begin();
  await slower.grow(30);
  await delay(60);
  const quick = memory.begin();
  await quick.grow(40);
  assert.ok(slow.lost.aborted);
  assert.equal(slower.lost.aborted, false);
  assert.equal(whole.lost.aborted, false);
  assert.equal(memory.held, 100);
  await assert.rejects(slower.grow(30), isOverload, 'the oldest now');
  assert.equal(refused.length, 2);
  for (const each of [whole, slow, slower, quick]) each.release();
  assert.equal(memory.held, 0);
});

test('of those that came whole and are to be read one at a time goes beyond the limit', async () => {
  const memory = new BodyMemory({ limit: 100, patience: 60_000 });
  const bodies = [memory.begin(), memory.begin()] as const;
  for (const body of bodies) {
    await body.grow(50);
    body.complete();
  }
  const [first, second] = bodies;
  await first.expand(100);
  let isRead = false;
  const reading = second.expand(100).then(() => {
    isRead = true;
  });
  await delay(5);
  assert.equal(isRead, false);
  assert.equal(memory.held, 200);
  first.release();
  await reading;
  second.release();
  assert.equal(memory.held, 0);
  const third = memory.begin();
  await third.grow(10);
  third.release();
  const late = new BodyMemory({ limit: 100, patience: 20 });
  const [holder, waiter] = [late.begin(), late.begin()];
  for (const body of [holder, waiter]) {
    await body.grow(50);
    body.complete();
  }
  await holder.expand(100);
  await assert.rejects(waiter.expand(100), isOverload);
  holder.release();
  assert.equal(late.held, 0);
});
