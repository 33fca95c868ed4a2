import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type FrameKind, FrameReader, formatFrameHeader } from './archive-frames.js';
import { hasCode } from './errors.js';

test('frames are told apart wherever chunks are cut', () => {
  const frames: [FrameKind, string][] = [
    ['archive', 'first'],
    ['absent', ''],
    ['delta', 'x'.repeat(3000)],
    ['archive', ''],
  ];
  const whole = Buffer.concat(
    frames.flatMap(([kind, text]) => [formatFrameHeader(kind, text.length), Buffer.from(text)]),
  );
  for (const size of [1, 4, 999, whole.length]) {
    const seen: [FrameKind, string][] = [];
    const reader = new FrameReader((kind, bytes) => seen.push([kind, Buffer.from(bytes).toString()]));
    for (let at = 0; at < whole.length; at += size) reader.write(whole.subarray(at, at + size));
    reader.end();
    assert.deepEqual(seen, frames);
  }
});

test('what breaks off, or is no frame, is refused', () => {
  const refuses = (bytes: Uint8Array): void => {
    const reader = new FrameReader(() => {});
    assert.throws(
      () => {
        reader.write(bytes);
        reader.end();
      },
      (error) => hasCode(error, 'archive-frame-malformed'),
    );
  };
  refuses(formatFrameHeader('archive', 3));
  refuses(Buffer.from([1, 0]));
  refuses(Buffer.from([9, 0, 0, 0, 0]));
  refuses(Buffer.from([1, 255, 255, 255, 255]));
});
