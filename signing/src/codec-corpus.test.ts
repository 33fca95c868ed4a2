import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { decompress } from './codec.js';
import { collect, cut, sampleBytes } from './codec-sample.js';
import type { Compression } from './compression.js';
import { hasCode, LarderError } from './errors.js';

/** Files made by the formats' own tools, all from the same sample; corpus/codec/README.md says how. */
const CORPUS: Readonly<Record<string, Compression>> = {
  'blocks.bz2': 'bzip2',
  'streams.bz2': 'bzip2',
  'blocks.xz': 'xz',
  'streams.xz': 'xz',
  'frames.zst': 'zstd',
  'long27.zst': 'zstd',
  'members.gz': 'gzip',
  'one.br': 'br',
  'one.lzma': 'lzma',
  'one.lzip': 'lzip',
  'members.lzip': 'lzip',
  'linked.lz4': 'lz4',
  'checked.lz4': 'lz4',
  'frames.lz4': 'lz4',
};
/** Formats, or ways to use them, that carry no checksum: damage may pass, and the NarHash is what finds it. */
const UNCHECKED = new Set(['frames.zst', 'one.br', 'one.lzma']);
const sample = sampleBytes(250_000);

function load(name: string): Buffer {
  return readFileSync(new URL(`../corpus/codec/${name}`, import.meta.url));
}

function read(name: string, bytes: Uint8Array, sizes?: readonly number[]): Promise<Buffer> {
  return collect(decompress(cut(bytes, sizes), CORPUS[name]!, { maxSize: 10_000_000 }));
}

async function outcome(name: string, bytes: Uint8Array): Promise<Buffer | LarderError> {
  try {
    return await read(name, bytes);
  } catch (error) {
    if (error instanceof LarderError) return error;
    throw error;
  }
}

for (const [name, compression] of Object.entries(CORPUS)) {
  describe(`${name} (${compression})`, () => {
    const bytes = load(name);

    test('reads as the sample, however it is cut', async () => {
      const sizes = fc.array(fc.integer({ min: 0, max: 9000 }), { minLength: 1, maxLength: 6 });
      await fc.assert(
        fc.asyncProperty(sizes, async (cuts) => {
          assert.ok((await read(name, bytes, cuts)).equals(sample));
        }),
        { numRuns: 12, examples: [[[1]], [[bytes.length]]] },
      );
    });

    test('cut short, it is never taken for whole', async () => {
      const lengths = [0, 1, 2, 3, 5, 7, 11, 12, 13, 20, 30];
      for (let i = 0; i < 25; i++) lengths.push(Math.floor((bytes.length * (i + 0.5)) / 25));
      for (let back = 1; back <= 30; back++) lengths.push(bytes.length - back);
      for (const length of lengths) {
        const result = await outcome(name, bytes.subarray(0, length));
        const told = result instanceof Error && hasCode(result, 'codec-truncated');
        assert.ok(told, `cut at ${length} of ${bytes.length}: ${String(result).slice(0, 100)}`);
        assert.match(result.message, new RegExp(compression));
      }
    });

    test('with anything behind its end, it is refused', async () => {
      for (const tail of ['garbage, and more of it than any header is long', '\x01']) {
        const result = await outcome(name, Buffer.concat([bytes, Buffer.from(tail)]));
        const told =
          result instanceof Error &&
          (hasCode(result, 'codec-malformed') || hasCode(result, 'codec-truncated'));
        assert.ok(told, String(result).slice(0, 100));
      }
    });

    test('damaged, it is refused or reads the same', async () => {
      for (let i = 0; i < 120; i++) {
        const damaged = Buffer.from(bytes);
        const at = (i * 7919) % damaged.length;
        damaged[at]! ^= 1 << (i & 7);
        const result = await outcome(name, damaged);
        const fine = UNCHECKED.has(name) || result instanceof Error || result.equals(sample);
        assert.ok(fine, `bit flipped at ${at} went unnoticed`);
      }
    });

    test('something else under its label is refused', async () => {
      const others = ['plain text, longer than any of the headers', '\0'.repeat(64), '\xff'.repeat(64)];
      for (const other of others) {
        const result = await outcome(name, Buffer.from(other, 'latin1'));
        assert.ok(
          result instanceof Error && /malformed|truncated|too-large/.test(result.code),
          `${other}: ${result}`,
        );
      }
    });
  });
}

test('a zstd window beyond 128 MiB is read only when allowed', async () => {
  const bytes = load('long31.zst');
  await assert.rejects(collect(decompress(cut(bytes), 'zstd')), (error) => hasCode(error, 'codec-too-large'));
  assert.ok((await collect(decompress(cut(bytes), 'zstd', { windowLogMax: 31 }))).equals(sample));
});
