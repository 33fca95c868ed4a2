import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Hedge } from './hedge.js';

/** One that knows what is usual: enough answers for a pause of the test's own to be none of the usual ones. */
async function experienced(): Promise<Hedge> {
  const hedge = new Hedge();
  for (let answers = 0; answers < 100; answers++) await hedge.run(async () => answers);
  return hedge;
}

const never = (): Promise<never> => new Promise(() => {});

test('before anything is known nothing is asked twice', async () => {
  const hedge = new Hedge();
  assert.equal(hedge.slow, undefined);
  const answer = hedge.run((isSecond) =>
    isSecond ? Promise.resolve('second') : new Promise((r) => setTimeout(r, 60, 'first')),
  );
  assert.equal(await answer, 'first');
});

test('a request that hangs is sent again', async () => {
  const hedge = await experienced();
  assert.equal(await hedge.run((isSecond) => (isSecond ? Promise.resolve('second') : never())), 'second');
});

test('a failure is the first one, and only when both fail', async () => {
  const hedge = await experienced();
  await assert.rejects(
    hedge.run(() => Promise.reject(new Error('at once'))),
    /at once/,
  );
  const slowly = (text: string) =>
    new Promise<never>((_, reject) => setTimeout(() => reject(new Error(text)), 60));
  await assert.rejects(
    hedge.run((isSecond) => slowly(isSecond ? 'second' : 'first')),
    /first/,
  );
  const one = hedge.run((isSecond) => (isSecond ? Promise.resolve('second') : slowly('first')));
  assert.equal(await one, 'second');
});

test('when everything is slow, one request in twenty is sent again at most', async () => {
  const hedge = await experienced();
  let seconds = 0;
  const requests = Array.from({ length: 400 }, () =>
    hedge.run(async (isSecond) => {
      if (isSecond) seconds++;
      await new Promise((resolve) => setTimeout(resolve, 60));
    }),
  );
  await Promise.all(requests);
  assert.ok(seconds > 0 && seconds <= 400 / 20 + 10, `${seconds}`);
});
