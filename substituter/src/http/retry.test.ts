import assert from 'node:assert/strict';
import { test } from 'node:test';
import { statusErrorCode } from './http-error.js';
import { parseRetryAfter, retryDelay, withRetries } from './retry.js';

test('pauses double from a quarter of a second, with jitter, and are as long as was asked for, to a minute', () => {
  for (let number = 1; number <= 5; number++) {
    const own = 250 * 2 ** (number - 1);
    const delay = retryDelay(number);
    assert.ok(delay >= own && delay <= own * 1.5, `${number}: ${delay}`);
  }
  assert.equal(retryDelay(1, 5000), 5000);
  assert.equal(retryDelay(1, 3_600_000), 60_000);
});

test('Retry-After is seconds or a date', () => {
  assert.equal(parseRetryAfter('7'), 7000);
  assert.equal(parseRetryAfter('Thu, 01 Jan 1970 00:00:10 GMT', 4000), 6000);
  assert.equal(parseRetryAfter('Thu, 01 Jan 1970 00:00:10 GMT', 20_000), 0);
  assert.equal(parseRetryAfter('soon'), undefined);
  assert.equal(parseRetryAfter(undefined), undefined);
});

test('statuses are told apart as Nix tells them apart', () => {
  for (const status of [408, 429, 500, 502, 503, 504])
    assert.equal(statusErrorCode(status), 'cache-unreachable');
  for (const status of [400, 404, 501, 505, 511]) assert.equal(statusErrorCode(status), 'cache-refused');
  for (const status of [401, 407]) assert.equal(statusErrorCode(status), 'cache-unauthorized');
});

test('an error that will not pass is thrown at once, one that may is tried as often as allowed', async () => {
  let tries = 0;
  const failing = (isTransient: boolean) =>
    withRetries(
      async () => {
        tries++;
        throw new Error('no');
      },
      { attempts: 2, isTransient: () => isTransient },
    );
  await assert.rejects(failing(false), /no/);
  assert.equal(tries, 1);
  await assert.rejects(failing(true), /no/);
  assert.equal(tries, 3);
});
