import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, test } from 'node:test';
import { compress, decompress } from './codec.js';
import { repeat } from './codec-sample.js';
import type { Compression } from './compression.js';
import { NarWork } from './nar-work.js';
import { narOfContents } from './nar-writer.js';

const MIB = 1024 * 1024;
/** Some noise among zeros, so that slow codecs get through the bulk. */
const PATTERN = Buffer.concat([randomBytes(MIB / 16), Buffer.alloc(2 * MIB - MIB / 16)]);
const SIZES: readonly (readonly [Compression, number, number])[] = [
  ['none', 256, 1],
  ['zstd', 256, 1],
  ['gzip', 96, 1],
  ['br', 96, 1],
  ['xz', 48, 0],
  ['lzma', 16, 0],
];

/** Reads a stream to its end; gives its size and by how much the process grew meanwhile, in bytes. */
async function measure(source: AsyncIterable<Uint8Array>): Promise<{ size: number; growth: number }> {
  const before = process.memoryUsage.rss();
  let size = 0;
  let peak = before;
  for await (const chunk of source) {
    size += chunk.length;
    peak = Math.max(peak, process.memoryUsage.rss());
  }
  return { size, growth: peak - before };
}

for (const [compression, mebibytes, level] of SIZES) {
  test(`${mebibytes} MiB through ${compression} and back take little memory`, async () => {
    const packed = compress(repeat(PATTERN, mebibytes * MIB), compression, { level });
    const { size, growth } = await measure(decompress(packed, compression));
    assert.equal(size, mebibytes * MIB);
    assert.ok(growth < 64 * MIB, `${growth} bytes more`);
  });
}

test('a NAR of 300 MiB is verified and compressed anew in little memory', async () => {
  const work = new NarWork({ size: 2 });
  after(() => work.close());
  const size = 300 * MIB;
  const [head, , tail] = [...narOfContents(PATTERN)];
  const header = Buffer.from(head!);
  header.writeUInt32LE(size, header.length - 8);
  async function* nar(): AsyncGenerator<Uint8Array> {
    yield header;
    yield* repeat(PATTERN, size);
    yield tail!;
  }
  const { output, result } = work.verifyNar(nar(), { compression: 'none', output: 'seekable' });
  const { growth } = await measure(output);
  assert.equal((await result).narSize, size + header.length + tail!.length);
  // Two threads come into being besides.
  assert.ok(growth < 160 * MIB, `${growth} bytes more`);
});
