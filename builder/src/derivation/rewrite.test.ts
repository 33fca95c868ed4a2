import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RewritingStream, rewriteBytes } from './rewrite.js';

const from = 'a'.repeat(32);
const to = 'b'.repeat(32);

test('a stream is rewritten wherever it is cut, and says where', () => {
  const text = `x${from}yy${from}${from}z${from.slice(1)}`;
  for (let size = 1; size <= text.length; size++) {
    const stream = new RewritingStream(new Map([[from, to]]));
    const out: Buffer[] = [];
    for (let at = 0; at < text.length; at += size)
      out.push(Buffer.from(stream.write(Buffer.from(text.slice(at, at + size)))));
    out.push(stream.end());
    assert.equal(Buffer.concat(out).toString(), `x${to}yy${to}${to}z${from.slice(1)}`);
    assert.deepEqual(stream.matches, [1, 35, 67]);
  }
});

test('texts are rewritten one rule after the other', () => {
  assert.equal(
    rewriteBytes('/placeholder and /placeholder', new Map([['/placeholder', '/store/x']])),
    '/store/x and /store/x',
  );
});
