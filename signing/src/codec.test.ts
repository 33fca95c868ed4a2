import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { compress, decompress } from './codec.js';
import { collect, cut, repeat, sampleBytes } from './codec-sample.js';
import type { Compression } from './compression.js';
import { hasCode } from './errors.js';

const WRITTEN: readonly Compression[] = ['none', 'xz', 'zstd', 'gzip', 'br', 'lzma'];
const LEVELS: Readonly<Partial<Record<Compression, number>>> = { xz: 1, lzma: 1, br: 3 };

describe('every codec we write', () => {
  for (const compression of WRITTEN) {
    const level = LEVELS[compression];

    test(`${compression} gives back what it took, however it is cut`, async () => {
      const sizes = fc.array(fc.integer({ min: 0, max: 300 }), { minLength: 1, maxLength: 8 });
      const bytes = fc.oneof(
        fc.uint8Array({ minLength: 1, maxLength: 5000 }),
        fc
          .tuple(fc.uint8Array({ minLength: 1, maxLength: 20 }), fc.integer({ min: 1, max: 2000 }))
          .map(([unit, times]) => Buffer.concat(Array.from({ length: times }, () => unit))),
      );
      await fc.assert(
        fc.asyncProperty(bytes, sizes, sizes, async (data, inSizes, outSizes) => {
          const packed = await collect(compress(cut(data, inSizes), compression, { level }));
          const back = await collect(decompress(cut(packed, outSizes), compression));
          assert.ok(back.equals(data));
        }),
        { numRuns: 40 },
      );
    });

    test(`${compression} handles megabytes of text and of noise`, async () => {
      for (const data of [sampleBytes(3_000_000), randomBytes(1_500_000)]) {
        const packed = await collect(compress(cut(data), compression, { level }));
        const back = await collect(decompress(cut(packed), compression));
        assert.ok(back.equals(data));
      }
    });
  }

  test('lent chunks are right when looked at, without a copy', async () => {
    const data = sampleBytes(1_000_000);
    const packed = await collect(compress(cut(data), 'zstd'));
    let at = 0;
    for await (const chunk of decompress(cut(packed), 'zstd', { lend: true })) {
      assert.ok(data.subarray(at, at + chunk.length).equals(chunk));
      at += chunk.length;
    }
    assert.equal(at, data.length);
  });

  test('bzip2, lzip and lz4 are not written, and the error says what is', async () => {
    for (const compression of ['bzip2', 'lzip', 'lz4'] as const) {
      await assert.rejects(
        collect(compress(cut(sampleBytes(10)), compression)),
        (error) => hasCode(error, 'compression-unsupported') && /zstd, xz/.test(error.message),
      );
    }
  });
});

describe('limits', () => {
  for (const compression of ['xz', 'zstd', 'gzip', 'br', 'lzma'] as const) {
    test(`a ${compression} bomb stops at maxSize, in little memory`, async () => {
      const zeros = Buffer.alloc(1 << 20);
      const bomb = await collect(compress(repeat(zeros, 40 << 20), compression, { level: 1 }));
      const before = process.memoryUsage.rss();
      let peak = 0;
      const read = async () => {
        for await (const _ of decompress(cut(bomb, [bomb.length]), compression, { maxSize: 32 << 20 })) {
          peak = Math.max(peak, process.memoryUsage.rss() - before);
        }
      };
      await assert.rejects(read(), (error) => hasCode(error, 'codec-too-large'));
      // lzma-native gives a step's output at once: 28 MiB for 4 KiB of the best bomb.
      assert.ok(peak < (compression === 'lzma' ? 56 : 28) << 20, `${peak} bytes more while reading`);
    });
  }

  test('an abort ends a stream at the next chunk', async () => {
    for (const compression of WRITTEN) {
      const abort = new AbortController();
      const packed = await collect(compress(cut(sampleBytes(400_000)), compression, { level: 1 }));
      const read = async () => {
        for await (const _ of decompress(cut(packed, [1000]), compression, { signal: abort.signal })) {
          abort.abort(new Error('enough'));
        }
      };
      await assert.rejects(read(), /enough/);
    }
  });

  test('a failing source fails the stream with its own error', async () => {
    for (const compression of WRITTEN) {
      async function* failing(): AsyncGenerator<Uint8Array> {
        yield Buffer.from([0xfd]);
        throw new Error('cable cut');
      }
      await assert.rejects(collect(compress(failing(), compression)), /cable cut/);
    }
  });

  test('a consumer that stops early closes the source', async () => {
    for (const compression of WRITTEN) {
      let closed = false;
      async function* source(): AsyncGenerator<Uint8Array> {
        try {
          for (;;) yield randomBytes(100_000);
        } finally {
          closed = true;
        }
      }
      for await (const _ of compress(source(), compression, { level: 1 })) break;
      assert.ok(closed, compression);
    }
  });
});
