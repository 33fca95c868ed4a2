import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { Bzip2Encoder } from './bzip2-encoder.js';

function compress(data: Uint8Array, pieces = 1): Buffer {
  const encoder = new Bzip2Encoder();
  const size = Math.ceil(data.length / pieces) || 1;
  const out: Buffer[] = [];
  for (let at = 0; at < data.length; at += size) out.push(encoder.write(data.subarray(at, at + size)));
  return Buffer.concat([...out, encoder.end()]);
}

const samples: Readonly<Record<string, Buffer>> = {
  empty: Buffer.alloc(0),
  'one byte': Buffer.from('x'),
  'a log': Buffer.from('building…\nchecking for gcc... gcc\nchecking whether it works... yes\n'.repeat(40)),
  'a long run': Buffer.alloc(300_000, 'a'),
  'a periodic text': Buffer.from('ab'.repeat(120_000)),
  'all bytes': Buffer.from(Array.from({ length: 5000 }, (_, index) => (index * index) & 255)),
  'several blocks': Buffer.concat([randomBytes(150_000), Buffer.from('text and more text '.repeat(20_000))]),
};

for (const [name, data] of Object.entries(samples)) {
  test(`bzip2 reads back ${name}`, () => {
    for (const pieces of [1, 7]) {
      const restored = execFileSync('bzip2', ['-d'], { input: compress(data, pieces), maxBuffer: 1 << 26 });
      assert.ok(restored.equals(data));
    }
  });
}

test('an empty log is the file bzip2 itself writes', () => {
  assert.equal(compress(Buffer.alloc(0)).toString('hex'), '425a683117724538509000000000');
});
