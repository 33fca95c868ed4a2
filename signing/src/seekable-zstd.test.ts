import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { decompress } from './codec.js';
import { collect, cut, sampleBytes } from './codec-sample.js';
import { hasCode } from './errors.js';
import { formatSeekTable, readSeekTable } from './seek-table.js';
import { type FetchRange, fetchSeekTable, readRange } from './seekable-zstd.js';
import { SeekableCheck } from './seekable-zstd-check.js';
import { SeekableZstdEncoder } from './seekable-zstd-writer.js';

const data = Buffer.concat([sampleBytes(700_000), randomBytes(300_000)]);

function encode(content: Uint8Array, frameSize: number, size?: number): Buffer {
  const encoder = new SeekableZstdEncoder({ frameSize, size });
  const chunks: Buffer[] = [];
  for (let at = 0; at < content.length; at += 10_007) {
    for (const chunk of encoder.write(content.subarray(at, at + 10_007))) chunks.push(Buffer.from(chunk));
  }
  for (const chunk of encoder.end()) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}

/** Reads ranges of `file`, noting them. */
function ranges(file: Uint8Array, seen: [number, number][] = []): FetchRange {
  return (offset, length) => {
    seen.push([offset, length]);
    return cut(file.subarray(offset, offset + length), [5000]);
  };
}

describe('a seekable archive', () => {
  const file = encode(data, 64 * 1024);

  test('reads as plain zstd', async () => {
    assert.ok((await collect(decompress(cut(file), 'zstd'))).equals(data));
  });

  test('has a table of its frames, with the checksums zstd itself writes', async () => {
    const table = readSeekTable(file)!;
    assert.equal(table.frames.length, Math.ceil(data.length / 65536));
    assert.equal(table.size, data.length);
    for (const frame of table.frames) {
      const end = frame.compressedOffset + frame.compressedSize;
      const bytes = file.subarray(frame.compressedOffset, end);
      assert.equal(file.readUInt32LE(end - 4), frame.checksum);
      const content = await collect(decompress(cut(bytes), 'zstd'));
      assert.ok(content.equals(data.subarray(frame.offset, frame.offset + frame.size)));
    }
  });

  test('gives any range, fetching only its frames', async () => {
    const table = (await fetchSeekTable(ranges(file), file.length))!;
    const range = fc.tuple(fc.nat(data.length), fc.nat(data.length));
    await fc.assert(
      fc.asyncProperty(range, async ([a, b]) => {
        const [from, to] = [Math.min(a, b), Math.max(a, b)];
        const seen: [number, number][] = [];
        const part = await collect(readRange(ranges(file, seen), { table, offset: from, length: to - from }));
        assert.ok(part.equals(data.subarray(from, to)));
        assert.equal(seen.length, from === to ? 0 : 1);
        const frames = Math.floor((to - 1) / 65536) - Math.floor(from / 65536) + 1;
        if (from < to) assert.ok(seen[0]![1] <= frames * 66_000);
      }),
    );
  });

  test('refuses a range outside', async () => {
    const table = readSeekTable(file)!;
    for (const [offset, length] of [
      [data.length, 1],
      [-1, 1],
      [0, data.length + 1],
    ] as const) {
      await assert.rejects(collect(readRange(ranges(file), { table, offset, length })), (error) =>
        hasCode(error, 'range-outside'),
      );
    }
  });

  test('with sizes announced holds them in its frames, and a wrong announcement is an error', async () => {
    const sized = encode(data, 64 * 1024, data.length);
    assert.ok((await collect(decompress(cut(sized), 'zstd'))).equals(data));
    for (const size of [0, 1, 65536, 100_000, data.length - 1, data.length + 1, data.length + 65536]) {
      assert.throws(
        () => encode(data, 64 * 1024, size),
        (error) => hasCode(error, 'size-mismatch'),
        `${size}`,
      );
    }
  });

  test('of nothing is one empty frame', async () => {
    const empty = encode(Buffer.alloc(0), 65536);
    assert.equal((await collect(decompress(cut(empty), 'zstd'))).length, 0);
    assert.equal(readSeekTable(empty)!.frames.length, 1);
  });
});

test('tables round-trip, with checksums and without', () => {
  const number = fc.nat(0xffffffff);
  for (const checksum of [number, fc.constant(undefined)]) {
    const entries = fc.array(fc.record({ compressedSize: number, size: number, checksum }));
    fc.assert(
      fc.property(entries, (list) => {
        const table = readSeekTable(Buffer.concat([Buffer.from('data'), formatSeekTable(list)]))!;
        const back = table.frames.map(({ compressedSize, size, checksum: sum }) => ({
          compressedSize,
          size,
          checksum: sum,
        }));
        assert.deepEqual(
          back,
          list.map((entry) => ({ ...entry })),
        );
      }),
    );
  }
});

test('a large table takes a second request', async () => {
  const entries = Array.from({ length: 10_000 }, (_, i) => ({ compressedSize: i, size: i, checksum: i }));
  const file = Buffer.concat([Buffer.alloc(50_000_000), formatSeekTable(entries)]);
  const seen: [number, number][] = [];
  const table = await fetchSeekTable(ranges(file, seen), file.length);
  assert.equal(table!.frames.length, 10_000);
  assert.deepEqual(
    seen.map(([, length]) => length),
    [65536, 120_017],
  );
});

test('what is not a table is told from one that is damaged', () => {
  const table = formatSeekTable([{ compressedSize: 5, size: 6, checksum: undefined }]);
  assert.equal(readSeekTable(Buffer.from('no table here at all')), undefined);
  assert.equal(readSeekTable(Buffer.alloc(3)), undefined);
  const damaged = [
    Buffer.concat([Buffer.from('x'), table.subarray(1)]),
    table.subarray(5),
    Buffer.concat([table.subarray(0, -5), Buffer.from([0x04]), table.subarray(-4)]),
    Buffer.concat([table.subarray(0, -9), Buffer.from([9, 0, 0, 0]), table.subarray(-5)]),
  ];
  for (const bytes of damaged) {
    assert.throws(
      () => readSeekTable(bytes),
      (error) => hasCode(error, 'seek-table-malformed'),
    );
  }
});

test('a file is known as seekable only if its table tells the truth', async () => {
  const check = async (file: Uint8Array): Promise<boolean> => {
    const seekable = new SeekableCheck();
    for (let at = 0; at < file.length; at += 3000) seekable.write(file.subarray(at, at + 3000));
    await collect(decompress(cut(file), 'zstd', { onFrame: seekable.onFrame }));
    return seekable.matches();
  };
  const file = encode(data, 100_000);
  const { compressedSize, frames } = readSeekTable(file)!;
  const body = file.subarray(0, compressedSize);
  assert.ok(await check(file));
  assert.ok(!(await check(body)));
  const lies = frames.map((frame, i) => ({ ...frame, size: frame.size + (i === 3 ? 1 : 0) }));
  assert.ok(!(await check(Buffer.concat([body, formatSeekTable(lies)]))));
  assert.ok(!(await check(Buffer.concat([body, formatSeekTable(frames.slice(1))]))));
  assert.ok(!(await check(Buffer.concat([file, file]))));
});
