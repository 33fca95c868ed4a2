import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { compress, decompress } from './codec.js';
import { collect, cut, sampleBytes } from './codec-sample.js';
import { hasCode } from './errors.js';
import { readSeekTable } from './seek-table.js';
import { SeekableRewriter, type SeekableRewriterOptions } from './seekable-zstd-rewriter.js';
import { SeekableZstdEncoder } from './seekable-zstd-writer.js';

const MIB = 1024 * 1024;
const FRAME = 2 * MIB;
const data = Buffer.concat([sampleBytes(5_000_000), randomBytes(300_000)]);

function seekable(content: Uint8Array, frameSize: number): Buffer {
  const chunks: Buffer[] = [];
  const encoder = new SeekableZstdEncoder({ frameSize });
  for (const chunk of encoder.write(content)) chunks.push(Buffer.from(chunk));
  for (const chunk of encoder.end()) chunks.push(Buffer.from(chunk));
  encoder.close();
  return Buffer.concat(chunks);
}

function plain(content: Uint8Array, windowLog?: number): Promise<Buffer> {
  return collect(compress(cut(content), 'zstd', { windowLog }));
}

/** Rewrites a file cut into pieces; checks that the result is seekable and that content was seen once, in order. */
async function rewrite(
  file: Uint8Array,
  {
    pieces = [65536],
    ...options
  }: Partial<SeekableRewriterOptions> & { readonly pieces?: readonly number[] } = {},
): Promise<{ output: Buffer; content: Buffer; keptAll: boolean }> {
  const seen: Buffer[] = [];
  const output: Buffer[] = [];
  const rewriter = new SeekableRewriter({
    frameSize: FRAME,
    onContent: (chunk) => seen.push(Buffer.from(chunk)),
    ...options,
  });
  try {
    for await (const piece of cut(file, pieces)) {
      for (const chunk of rewriter.write(piece)) output.push(Buffer.from(chunk));
    }
    for (const chunk of rewriter.end()) output.push(Buffer.from(chunk));
  } finally {
    rewriter.close();
  }
  const result = { output: Buffer.concat(output), content: Buffer.concat(seen), keptAll: rewriter.keptAll };
  assert.ok((await collect(decompress(cut(result.output), 'zstd'))).equals(result.content));
  const table = readSeekTable(result.output)!;
  assert.equal(table.size, result.content.length);
  for (const frame of table.frames) {
    assert.ok(frame.size <= FRAME);
    const end = frame.compressedOffset + frame.compressedSize;
    const bytes = result.output.subarray(frame.compressedOffset, end);
    const expected = result.content.subarray(frame.offset, frame.offset + frame.size);
    assert.ok((await collect(decompress(cut(bytes), 'zstd'))).equals(expected));
  }
  return result;
}

test('a seekable file comes out as it was, however it is cut', async () => {
  const file = seekable(data, FRAME);
  const pieces = fc.array(fc.integer({ min: 1, max: 900_000 }), { minLength: 1, maxLength: 4 });
  await fc.assert(
    fc.asyncProperty(pieces, async (sizes) => {
      const { output, content, keptAll } = await rewrite(file, { pieces: sizes.map((size) => size + 500) });
      assert.ok(keptAll && output.equals(file) && content.equals(data));
    }),
    { numRuns: 10 },
  );
});

test('a small plain file keeps its frame and gets a table', async () => {
  const file = await plain(data.subarray(0, 300_000));
  const { output, keptAll } = await rewrite(file);
  assert.ok(keptAll && output.subarray(0, file.length).equals(file));
});

test('a frame that is too large, or its window, or without checksum, is made anew', async () => {
  const corpus = (name: string) => readFileSync(new URL(`../corpus/codec/${name}`, import.meta.url));
  const files = [await plain(data), await plain(data.subarray(0, 500_000), 27), corpus('frames.zst')];
  for (const file of files) {
    const { content, keptAll } = await rewrite(file);
    assert.ok(!keptAll);
    assert.ok(content.equals(await collect(decompress(cut(file), 'zstd'))));
  }
});

test('frames that can be kept stand before those that cannot', async () => {
  const parts = [seekable(data.subarray(0, 2 * FRAME), FRAME), await plain(data), seekable(data, FRAME)];
  const { output, content } = await rewrite(Buffer.concat(parts), { pieces: [300_000] });
  assert.ok(content.equals(Buffer.concat([data.subarray(0, 2 * FRAME), data, data])));
  const kept = readSeekTable(parts[0]!)!.compressedSize;
  assert.ok(output.subarray(0, kept).equals(parts[0]!.subarray(0, kept)));
});

test('crumbs are put together', async () => {
  const { output, content } = await rewrite(seekable(data, 1000));
  assert.ok(content.equals(data));
  assert.equal(readSeekTable(output)!.frames.length, 1 + Math.ceil((data.length - 1000) / FRAME));
});

test('what is no zstd, cut short or too large is refused', async () => {
  const file = seekable(data, FRAME);
  await assert.rejects(rewrite(Buffer.from('not zstd at all')), (error) => hasCode(error, 'codec-malformed'));
  await assert.rejects(rewrite(file.subarray(0, -1)), (error) => hasCode(error, 'codec-truncated'));
  await assert.rejects(rewrite(file.subarray(0, 100_000)), (error) => hasCode(error, 'codec-truncated'));
  await assert.rejects(rewrite(file, { maxSize: data.length - 1 }), (error) =>
    hasCode(error, 'codec-too-large'),
  );
  const empty = await rewrite(seekable(Buffer.alloc(0), FRAME));
  assert.equal(empty.content.length, 0);
});
