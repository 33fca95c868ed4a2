import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { LarderError } from './errors.js';
import { formatNarListing, parseNarListing, readNarListing } from './nar-listing.js';
import { readNar } from './nar-reader.js';
import { restoreNar } from './nar-restore.js';
import { dumpNar, narOfContents, writeNar } from './nar-writer.js';

async function* cut(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

const words = (...parts: string[]): Buffer =>
  Buffer.concat(
    parts.map((part) => {
      const bytes = Buffer.from(part, 'latin1');
      const field = Buffer.alloc(8 + Math.ceil(bytes.length / 8) * 8);
      field.writeBigUInt64LE(BigInt(bytes.length));
      bytes.copy(field, 8);
      return field;
    }),
  );

function makeTree(root: string): void {
  mkdirSync(join(root, 'a/empty'), { recursive: true });
  writeFileSync(join(root, 'a/file'), 'hello world');
  writeFileSync(join(root, 'a/nothing'), '');
  writeFileSync(join(root, 'run'), '#!/bin/sh\n');
  chmodSync(join(root, 'run'), 0o755);
  symlinkSync('../nowhere', join(root, 'a/link'));
  writeFileSync(
    Buffer.concat([Buffer.from(join(root, 'a/')), Buffer.from([0xff, 0x20, 0xc3, 0xa9])]),
    'bytes',
  );
  writeFileSync(join(root, 'Ünïcode – name'), Buffer.alloc(300_000, 7));
}

test('a tree survives dump and restore, at any chunk size', async () => {
  const work = mkdtempSync(join(tmpdir(), 'larder-nar-'));
  try {
    mkdirSync(join(work, 'tree'));
    makeTree(join(work, 'tree'));
    const nar = Buffer.concat([...dumpNar(join(work, 'tree'))]);
    for (const size of [1, 3, 8, 13, 4096, nar.length]) {
      const target = join(work, `copy-${size}`);
      await restoreNar(cut(nar, size), target, { canonical: true });
      assert.deepEqual(Buffer.concat([...dumpNar(target)]), nar);
      const stat = lstatSync(join(target, 'a/file'));
      assert.equal(stat.mtimeMs, 1000);
      assert.equal(stat.mode & 0o7777, 0o444);
      assert.equal(lstatSync(join(target, 'run')).mode & 0o7777, 0o555);
      assert.equal(lstatSync(join(target, 'a/link')).mtimeMs, 1000);
      assert.equal(lstatSync(target).mode & 0o7777, 0o555);
    }
  } finally {
    execFileSync('chmod', ['-R', 'u+w', work]);
    rmSync(work, { recursive: true });
  }
});

test('a listing points at each file in the archive', async () => {
  const work = mkdtempSync(join(tmpdir(), 'larder-nar-'));
  makeTree(work);
  const nar = Buffer.concat([...dumpNar(work)]);
  for (const size of [5, nar.length]) {
    const listing = await readNarListing(cut(nar, size));
    assert.ok(listing.type === 'directory');
    const directory = listing.entries.a;
    assert.ok(directory?.type === 'directory');
    const file = directory.entries.file;
    assert.ok(file?.type === 'regular');
    assert.equal(nar.subarray(file.narOffset, file.narOffset! + file.size).toString(), 'hello world');
    assert.equal(formatNarListing(parseNarListing(formatNarListing(listing))), formatNarListing(listing));
  }
  rmSync(work, { recursive: true });
});

test('writing stops at an abort', async () => {
  const work = mkdtempSync(join(tmpdir(), 'larder-nar-'));
  writeFileSync(join(work, 'f'), Buffer.alloc(2_000_000));
  await assert.rejects(async () => {
    for await (const _ of writeNar(work, { signal: AbortSignal.abort() })) assert.fail('gave a chunk');
  });
  rmSync(work, { recursive: true });
});

test('files inside an archive equal what was put in', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.uint8Array({ maxLength: 3000 }),
      fc.integer({ min: 1, max: 500 }),
      async (data, size) => {
        const nar = Buffer.concat([...narOfContents(data)]);
        const pieces: Uint8Array[] = [];
        for await (const event of readNar(cut(nar, size))) {
          if (event.type === 'contents') pieces.push(Buffer.from(event.chunk));
        }
        assert.deepEqual(Buffer.concat(pieces), Buffer.from(data));
      },
    ),
  );
});

const patched = (bytes: Buffer, at: number): Buffer => {
  bytes[bytes.length + at] = 9;
  return bytes;
};

const magic = 'nix-archive-1';
const file = ['(', 'type', 'regular', 'contents', 'x', ')'];
const entry = (name: string, node = file): string[] => ['entry', '(', 'name', name, 'node', ...node, ')'];
const directory = (...entries: string[][]): string[] => ['(', 'type', 'directory', ...entries.flat(), ')'];

const malformed: [name: string, bytes: Buffer, message: RegExp][] = [
  ['empty', Buffer.alloc(0), /cut short/],
  ['another magic', words('nix-archive-2'), /does not start with/],
  ['a text file', Buffer.from('hello, this is not an archive at all'), /where at most|2\^53/],
  ['cut in a keyword', words(magic, '(').subarray(0, -3), /cut short/],
  ['cut in contents', words(magic, '(', 'type', 'regular', 'contents', 'hello').subarray(0, -5), /cut short/],
  ['bytes after the end', words(magic, ...file, ''), /follow its end/],
  ['an unknown type', words(magic, '(', 'type', 'fifo'), /'fifo' stands where/],
  ['a name out of order', words(magic, ...directory(entry('b'), entry('a'))), /comes after 'b'/],
  ['a name twice', words(magic, ...directory(entry('a'), entry('a'))), /'a' stands twice/],
  ['a slash', words(magic, ...directory(entry('a/b'))), /slash/],
  ['the parent', words(magic, ...directory(entry('..'))), /directory above/],
  ['itself', words(magic, ...directory(entry('.'))), /directory above/],
  ['an empty name', words(magic, ...directory(entry(''))), /empty/],
  ['a NUL', words(magic, ...directory(entry('a\0b'))), /NUL/],
  ['a case hack', words(magic, ...directory(entry('a~nix~case~hack~1'))), /case hack/],
  ['a long name', words(magic, ...directory(entry('n'.repeat(256)))), /256 bytes/],
  ['an empty target', words(magic, '(', 'type', 'symlink', 'target', ''), /target/],
  ['a target with NUL', words(magic, '(', 'type', 'symlink', 'target', 'a\0'), /target/],
  [
    'an executable with a value',
    words(magic, '(', 'type', 'regular', 'executable', 'yes'),
    /'yes' stands where ''/,
  ],
  [
    'executable twice',
    words(magic, '(', 'type', 'regular', 'executable', '', 'executable', ''),
    /stands where 'contents'/,
  ],
  ['padding not zero', Buffer.concat([words(magic).fill(1, 8 + 13)]), /padding/],
  ['contents padding not zero', patched(words(magic, ...file), -23), /padding/],
  [
    'a size beyond 2^53',
    Buffer.concat([words(magic, '(', 'type', 'regular', 'contents'), Buffer.alloc(8, 0xff)]),
    /2\^53/,
  ],
  ['a directory without end', words(magic, '(', 'type', 'directory', ...entry('a')), /cut short/],
];

for (const [name, bytes, message] of malformed) {
  test(`refuses an archive with ${name}`, async () => {
    for (const size of [1, 7, Math.max(1, bytes.length)]) {
      await assert.rejects(
        async () => {
          for await (const _ of readNar(cut(bytes, size)));
        },
        (error: unknown) => {
          assert.ok(error instanceof LarderError);
          assert.equal(error.code, 'nar-malformed');
          assert.match(error.message, message);
          return true;
        },
      );
    }
  });
}

test('refuses to nest deeper than its limit', async () => {
  let node = file;
  for (let depth = 0; depth < 5; depth++) node = directory(entry('d', node));
  const bytes = words(magic, ...node);
  for await (const _ of readNar(cut(bytes, 100), { maxDepth: 5 }));
  await assert.rejects(async () => {
    for await (const _ of readNar(cut(bytes, 100), { maxDepth: 4 }));
  }, /nested deeper than 4/);
});

test('does not write over what is there', async () => {
  const work = mkdtempSync(join(tmpdir(), 'larder-nar-'));
  writeFileSync(join(work, 'there'), 'mine');
  const nar = Buffer.concat([...narOfContents(Buffer.from('yours'))]);
  await assert.rejects(restoreNar(cut(nar, 64), join(work, 'there')), { code: 'restore-target-exists' });
  assert.equal(readFileSync(join(work, 'there'), 'utf8'), 'mine');
  rmSync(work, { recursive: true });
});
