import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { type TestContext, test } from 'node:test';
import { OpenFile } from './open-file.js';

const SIZE = 6_000_000;

async function openSample(t: TestContext): Promise<{ readonly file: OpenFile; readonly bytes: Buffer }> {
  const directory = await mkdtemp(join(tmpdir(), 'larder-open-file-'));
  const bytes = Buffer.alloc(SIZE);
  for (let at = 0; at < SIZE; at += 4) bytes.writeUInt32LE(at, at);
  await writeFile(join(directory, 'sample'), bytes);
  const file = await OpenFile.open(join(directory, 'sample'));
  t.after(async () => {
    file.close();
    await rm(directory, { recursive: true });
  });
  return { file, bytes };
}

/** Takes so long over each chunk, in milliseconds. */
class Sink extends Writable {
  readonly chunks: Buffer[] = [];
  readonly #delay: (at: number) => number;

  constructor(delay: (at: number) => number) {
    super();
    this.#delay = delay;
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    // The buffer is somebody else's once it is written.
    this.chunks.push(Buffer.from(chunk));
    const delay = this.#delay(this.chunks.length - 1);
    if (delay === 0) done();
    else setTimeout(done, delay);
  }
}

test('chunks grow for who takes them at once, and the bytes are right', async (t) => {
  const { file, bytes } = await openSample(t);
  const sink = new Sink(() => 0);
  await file.send(sink, { start: 3, end: SIZE - 6 });
  assert.ok(Buffer.concat(sink.chunks).equals(bytes.subarray(3, SIZE - 5)));
  assert.equal(Math.max(...sink.chunks.map((chunk) => chunk.length)), 2 ** 20);
});

test('who takes them slowly gets small ones, and large ones when that is over', async (t) => {
  const { file, bytes } = await openSample(t);
  const sink = new Sink((at) => (at >= 2 && at < 8 ? 120 : 0));
  await file.send(sink, { start: 0, end: SIZE - 1 });
  assert.ok(Buffer.concat(sink.chunks).equals(bytes));
  const sizes = sink.chunks.map((chunk) => chunk.length);
  // One is being read while one is written: what is known of a write tells in the second after it.
  assert.deepEqual(sizes.slice(4, 8), [65536, 65536, 65536, 65536]);
  assert.equal(Math.max(...sizes.slice(9)), 2 ** 20);
});
