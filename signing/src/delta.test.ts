import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { DeltaDecoder, DeltaEncoder, deltaMemory, makeDelta } from './delta.js';
import { hasCode } from './errors.js';

function apply(base: Uint8Array, delta: Uint8Array, pieces = delta.length): Buffer {
  const decoder = new DeltaDecoder(base);
  const out: Buffer[] = [];
  for (let at = 0; at < delta.length; at += pieces)
    for (const chunk of decoder.write(delta.subarray(at, at + pieces))) out.push(Buffer.from(chunk));
  for (const chunk of decoder.end()) out.push(Buffer.from(chunk));
  decoder.close();
  return Buffer.concat(out);
}

test('a delta gives the new archive, in however many pieces it comes', () => {
  const base = randomBytes(700_000);
  const next = Buffer.concat([base.subarray(300_000), randomBytes(500), base.subarray(0, 400_000)]);
  const delta = makeDelta(base, next);
  assert.ok(delta.length < 2000, `${delta.length} bytes`);
  for (const pieces of [1, 100, delta.length]) assert.ok(apply(base, delta, pieces).equals(next));
  for (const [from, to] of [
    [Buffer.alloc(0), next],
    [base, Buffer.from('x')],
    [Buffer.from('nix-archive-1'), Buffer.alloc(3_000_000, 7)],
  ] as const)
    assert.ok(apply(from, makeDelta(from, to)).equals(to));
});

test('changed hashes cost a few bytes each', () => {
  const base = randomBytes(1_000_000);
  const next = Buffer.from(base);
  for (let at = 1000; at < next.length; at += 50_000) randomBytes(20).copy(next, at);
  const { length } = makeDelta(base, next);
  assert.ok(length < 20 * 50, `${length} bytes`);
});

test('a delta that breaks off, goes on, or is none is refused; with another base it gives something else', () => {
  const base = randomBytes(10_000);
  const next = Buffer.concat([base, Buffer.from('more')]);
  const delta = makeDelta(base, next);
  assert.throws(
    () => apply(base, delta.subarray(0, -1)),
    (error) => hasCode(error, 'codec-truncated'),
  );
  const more = Buffer.concat([delta, delta]);
  assert.throws(
    () => apply(base, more, 1),
    (error) => hasCode(error, 'codec-malformed'),
  );
  assert.throws(
    () => apply(base, Buffer.from('nothing')),
    (error) => hasCode(error, 'codec-malformed'),
  );
  assert.ok(!apply(randomBytes(10_000), delta).equals(next));
});

test('a delta that would be too large is none; the base may be overwritten meanwhile', () => {
  const base = randomBytes(40_000);
  const next = Buffer.concat([randomBytes(20_000), base.subarray(0, 20_000)]);
  const buffer = Buffer.from(base);
  const encoder = new DeltaEncoder(buffer, next.length);
  next.copy(buffer);
  assert.equal(encoder.encode(buffer, 19_000), undefined);
  const delta = encoder.encode(buffer, 21_000);
  encoder.close();
  assert.ok(apply(base, delta!).equals(next));
  assert.throws(
    () => new DeltaEncoder(base, 2 ** 27 + 1),
    (error) => hasCode(error, 'delta-too-large'),
  );
});

test('the largest archives take no more memory than is said', () => {
  const sizes = { baseSize: 2 ** 27, newSize: 2 ** 27, maxSize: 2 ** 25 };
  assert.ok(deltaMemory(sizes) <= 512 * 2 ** 20);
});
