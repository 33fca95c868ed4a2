import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PublicationOrder } from './publication-order.js';

function sort(...entries: readonly [string, ...string[]][]): { keys: string[]; outside: number } {
  const order = new PublicationOrder<string>();
  for (const [hashPart, ...references] of entries) order.add({ key: hashPart, hashPart, references });
  return { keys: [...order.sorted()], outside: order.outside };
}

test('paths come after those they refer to', () => {
  const { keys, outside } = sort(
    ['top', 'left', 'right', 'top'],
    ['left', 'base'],
    ['right', 'base'],
    ['base'],
  );
  assert.deepEqual(keys, ['base', 'left', 'right', 'top']);
  assert.equal(outside, 0);
});

test('what is not there is counted once, and not given', () => {
  const { keys, outside } = sort(['a', 'gone'], ['b', 'gone', 'lost']);
  assert.deepEqual(keys, ['a', 'b']);
  assert.equal(outside, 2);
});

test('a circle ends, and a chain of twenty thousand needs no stack', () => {
  assert.deepEqual(sort(['a', 'b'], ['b', 'a']).keys.sort(), ['a', 'b']);
  const order = new PublicationOrder<number>();
  for (let at = 0; at < 20_000; at++) order.add({ key: at, hashPart: `${at}`, references: [`${at + 1}`] });
  assert.equal([...order.sorted()][0], 19_999);
});
