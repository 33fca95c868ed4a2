import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { layOutTreemap } from './treemap.js';
import { formatAge, formatSize } from './units.js';

test('tiles have areas of their sizes, and stay inside', () => {
  const area = { x: 0, y: 0, width: 1000, height: 460 };
  const sizes = fc.array(fc.integer({ min: 1, max: 100_000 }), { minLength: 1, maxLength: 80 });
  fc.assert(
    fc.property(sizes, (unsorted) => {
      const falling = [...unsorted].sort((left, right) => right - left);
      const total = falling.reduce((sum, size) => sum + size, 0);
      const tiles = layOutTreemap(falling, area);
      assert.equal(tiles.length, falling.length);
      for (const [at, { x, y, width, height }] of tiles.entries()) {
        const expected = ((falling[at] ?? 0) / total) * area.width * area.height;
        assert.ok(Math.abs(width * height - expected) < 1e-6 * area.width * area.height);
        assert.ok(x >= -1e-6 && y >= -1e-6 && x + width <= 1000 + 1e-6 && y + height <= 460 + 1e-6);
      }
    }),
  );
});

test('sizes and ages for people', () => {
  const sizes: [bytes: number, text: string][] = [
    [0, '0 B'],
    [998, '998 B'],
    [1000, '0.98 KiB'],
    [1024, '1.00 KiB'],
    [10 * 1024, '10.0 KiB'],
    [100 * 1024, '100 KiB'],
    [5 * 2 ** 30, '5.00 GiB'],
    [2 ** 60, '1024 PiB'],
  ];
  for (const [bytes, text] of sizes) assert.equal(formatSize(bytes), text);
  const hour = 3_600_000;
  assert.equal(formatAge(0, 30_000), 'just now');
  assert.equal(formatAge(0, hour), '1 hour ago');
  assert.equal(formatAge(0, 49 * hour), '2 days ago');
  assert.equal(formatAge(72 * hour, 0), 'in 3 days');
});
