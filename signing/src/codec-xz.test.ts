import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { LzmaNativeCodec } from './codec-lzma.js';
import { sampleBytes } from './codec-sample.js';
import type { StepCodec } from './codec-step.js';
import { openXzDecoder, openXzEncoder } from './codec-xz.js';
import { hasCode } from './errors.js';

const sample = sampleBytes(250_000);

function run(codec: StepCodec, input: Uint8Array): Buffer {
  try {
    const output: Buffer[] = [];
    for (const chunk of codec.write(input)) output.push(Buffer.from(chunk));
    for (const chunk of codec.end()) output.push(Buffer.from(chunk));
    return Buffer.concat(output);
  } finally {
    codec.close();
  }
}

test('both bindings of liblzma read what the other wrote', async () => {
  const mine = run(await openXzEncoder(3), sample);
  const other = run(LzmaNativeCodec.xzEncoder(3), sample);
  assert.ok(run(await openXzDecoder(), other).equals(sample));
  assert.ok(run(LzmaNativeCodec.xzDecoder(), mine).equals(sample));
});

test('the stand-in reads streams, blocks and padding, and refuses what it should', () => {
  for (const name of ['blocks.xz', 'streams.xz']) {
    const bytes = readFileSync(new URL(`../corpus/codec/${name}`, import.meta.url));
    assert.ok(run(LzmaNativeCodec.xzDecoder(), bytes).equals(sample));
    for (const length of [0, 1, 12, 100, bytes.length - 1]) {
      assert.throws(
        () => run(LzmaNativeCodec.xzDecoder(), bytes.subarray(0, length)),
        (error) => hasCode(error, 'codec-truncated'),
      );
    }
    for (const tail of ['x', 'garbage, longer than a stream header']) {
      const longer = Buffer.concat([bytes, Buffer.from(tail)]);
      assert.throws(() => run(LzmaNativeCodec.xzDecoder(), longer), /xz data (is malformed|ends too early)/);
    }
  }
});
