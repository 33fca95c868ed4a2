import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { narOfContents } from '@larder/signing/nar-writer';
import { sniffUpload } from './sniff-upload.js';

const nar = Buffer.concat([...narOfContents(Buffer.from('hello'))]);

async function* cut(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

for (const [name, bytes, expected] of [
  ['a plain archive', nar, 'none'],
  ['a gzip file', gzipSync(nar), 'gzip'],
  ['what could be lzma', Buffer.from([0x5d, 0, 0, 0x80, 0, 1, 2, 3]), 'lzma'],
  ['nothing', Buffer.alloc(0), 'none'],
] as const) {
  test(`${name} is told by its first bytes, and none of it is lost, wherever chunks are cut`, async () => {
    for (const size of [1, 7, 16, bytes.length + 1]) {
      const { compression, body } = await sniffUpload(cut(bytes, size));
      assert.equal(compression, expected);
      const chunks: Uint8Array[] = [];
      for await (const chunk of body) chunks.push(chunk);
      assert.deepEqual(Buffer.concat(chunks), bytes);
    }
  });
}
