import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { formatBase32 } from '@larder/signing/base32';
import fc from 'fast-check';
import { HashPartCollector, MAX_HASH_PARTS, unpackHashParts } from './hash-parts.js';

function collect(bytes: Buffer, cuts: readonly number[]): Set<string> | undefined {
  const collector = new HashPartCollector();
  let from = 0;
  for (const cut of [...cuts].sort((a, b) => a - b)) {
    collector.write(bytes.subarray(from, Math.min(cut, bytes.length)));
    from = Math.max(from, Math.min(cut, bytes.length));
  }
  collector.write(bytes.subarray(from));
  const packed = collector.finish();
  return packed === undefined ? undefined : unpackHashParts(packed);
}

test('every run of 32 characters is found, wherever chunks are cut', () => {
  const text = fc.stringMatching(/^[ab0e/]{0,90}$/);
  fc.assert(
    fc.property(text, fc.array(fc.nat(90), { maxLength: 6 }), (string, cuts) => {
      const expected = new Set<string>();
      for (let at = 0; at + 32 <= string.length; at++) {
        const window = string.slice(at, at + 32);
        if (!window.includes('e') && !window.includes('/')) expected.add(window);
      }
      assert.deepEqual(collect(Buffer.from(string), cuts), new Set([...expected].sort()));
    }),
  );
});

test('hash parts among random bytes are found', () => {
  const parts = ['one', 'two'].map((name) =>
    formatBase32(createHash('sha256').update(name).digest().subarray(0, 20)),
  );
  const bytes = Buffer.concat([
    randomBytes(100_000),
    Buffer.from(`/nix/store/${parts[0]}-x\0`),
    randomBytes(70_000),
    Buffer.from(`n${parts[1]}`),
  ]);
  const found = collect(bytes, [65_536, 131_072]);
  for (const part of parts) assert.ok(found?.has(part));
});

test('too many are not kept', () => {
  const bytes = Buffer.alloc(MAX_HASH_PARTS * 64);
  for (let at = 0; at < bytes.length; at += 50) bytes.write(formatBase32(randomBytes(32)).slice(0, 33), at);
  assert.equal(collect(bytes, []), undefined);
});
