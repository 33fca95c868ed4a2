import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { compress, decompress } from './codec.js';
import { collect, cut, sampleBytes } from './codec-sample.js';
import type { Compression } from './compression.js';
import { hasCode } from './errors.js';

const sample = sampleBytes(250_000);
const corpus = (name: string): Buffer => readFileSync(new URL(`../corpus/codec/${name}`, import.meta.url));

/** With the dictionary of the last block made as large as xz can say. */
function greedy(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  const dictionary = bytes[bytes.indexOf(Buffer.from([0x21, 0x01]), 12) + 2]!;
  const at = copy.lastIndexOf(Buffer.from([0x21, 0x01, dictionary, 0, 0]));
  assert.ok(at > 0);
  copy[at + 2] = 40;
  return copy;
}

async function refuses(compression: Compression, bytes: Buffer, sizes: readonly number[]): Promise<void> {
  await assert.rejects(collect(decompress(cut(bytes, sizes), compression)), (error) =>
    hasCode(error, 'codec-too-large'),
  );
}

test('xz: a dictionary of gigabytes is refused in any block of any stream', async () => {
  const plain = await collect(compress(cut(sample, [65536]), 'xz', { level: 9 }));
  for (const sizes of [[65536], [1], [7, 4096]]) {
    const whole = await collect(decompress(cut(Buffer.concat([plain, plain]), sizes), 'xz'));
    assert.ok(whole.equals(Buffer.concat([sample, sample])));
    await refuses('xz', greedy(plain), sizes);
    await refuses('xz', Buffer.concat([plain, Buffer.alloc(8), greedy(plain)]), sizes);
    for (const name of ['blocks.xz', 'streams.xz']) await refuses('xz', greedy(corpus(name)), sizes);
  }
});

test('lzma and lzip: likewise', async () => {
  const alone = await collect(compress(cut(sample, [65536]), 'lzma'));
  alone.writeUInt32LE(2 ** 31, 1);
  await refuses('lzma', alone, [65536]);
  await refuses('lzma', alone, [1]);
  await refuses('lzip', Buffer.from([...Buffer.from('LZIP'), 1, 29, 0, 0]), [65536]);
});
