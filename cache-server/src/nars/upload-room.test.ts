import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hasCode } from '@larder/signing/errors';
import { UploadRoom } from './upload-room.js';

const MIB = 2 ** 20;
const isOverload = (error: unknown): boolean => hasCode(error, 'overloaded');

test('uploads take turns in their order, and small ones take less', async () => {
  // 18 MiB for one of any size, 2 MiB and a little for a small one.
  const room = new UploadRoom({ memory: 40 * MIB, staging: 0, patience: 60_000 });
  const first = await room.enter();
  const second = await room.enter();
  const small = await room.enter(1000);
  const order: string[] = [];
  const third = room.enter().then((place) => {
    order.push('third');
    return place;
  });
  const fourth = room.enter(1000).then((place) => {
    order.push('fourth');
    return place;
  });
  small[Symbol.dispose]();
  assert.deepEqual(room.load, { held: 36 * MIB, running: 2, waiting: 2 });
  first[Symbol.dispose]();
  first[Symbol.dispose]();
  const places = await Promise.all([third, fourth]);
  assert.deepEqual(order, ['third', 'fourth']);
  for (const place of [second, ...places]) place[Symbol.dispose]();
  assert.deepEqual(room.load, { held: 0, running: 0, waiting: 0 });
});

test('one that is larger than all there is comes alone', async () => {
  const room = new UploadRoom({ memory: MIB, staging: 24 * MIB, patience: 1 });
  using _first = await room.enter();
  await assert.rejects(room.enter(1), isOverload);
});

test('whoever waits too long, or goes away, is out of the line', async () => {
  let refused = 0;
  const room = new UploadRoom({ memory: 18 * MIB, staging: 0, patience: 20, onRefused: () => refused++ });
  const first = await room.enter();
  const gone = new AbortController();
  const waiting = room.enter(undefined, gone.signal);
  const late = room.enter();
  gone.abort(new Error('went away'));
  await assert.rejects(waiting, /went away/);
  await assert.rejects(late, isOverload);
  await assert.rejects(room.enter(undefined, gone.signal), /went away/);
  assert.equal(refused, 1);
  first[Symbol.dispose]();
  assert.deepEqual(room.load, { held: 0, running: 0, waiting: 0 });
});
