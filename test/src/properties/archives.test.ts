import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { LarderError } from '@larder/signing/errors';
import { hashStream } from '@larder/signing/hash';
import { formatNarListing, parseNarListing, readNarListing } from '@larder/signing/nar-listing';
import { restoreNar } from '@larder/signing/nar-restore';
import { dumpNar } from '@larder/signing/nar-writer';
import fc from 'fast-check';
import { makeScratch } from '../engines/scratch.js';
import { type Tree, tree } from './arbitraries.js';

test('a tree survives being archived, cut anywhere, restored and archived again', async () => {
  await using scratch = await makeScratch('trees');
  let runs = 0;
  await fc.assert(
    fc.asyncProperty(tree, fc.integer({ min: 1, max: 300 }), async (value, chunkSize) => {
      runs += 1;
      const [source, copy] = [scratch.join(`${runs}`), scratch.join(`${runs}-copy`)];
      writeTree(source, value);
      const archive = Buffer.concat([...dumpNar(source)]);
      await restoreNar(cut(archive, chunkSize), copy);
      assert.ok(Buffer.concat([...dumpNar(copy)]).equals(archive));
      const listing = await readNarListing(cut(archive, chunkSize));
      assert.deepEqual(parseNarListing(formatNarListing(listing)), listing);
      const { hash } = await hashStream('sha256', cut(archive, chunkSize));
      assert.ok(hash.equals((await hashStream('sha256', cut(archive, archive.length))).hash));
    }),
  );
});

test('a damaged archive is refused, or is another archive in canonical form; nothing lands outside the target', async () => {
  await using scratch = await makeScratch('damaged');
  let runs = 0;
  const damage = fc.tuple(fc.nat(), fc.nat(8), fc.uint8Array({ maxLength: 8 }));
  await fc.assert(
    fc.asyncProperty(tree, damage, async (value, [at, removed, inserted]) => {
      runs += 1;
      const directory = scratch.join(`${runs}`);
      mkdirSync(directory);
      writeTree(`${scratch.join(`${runs}`)}-source`, value);
      const archive = Buffer.concat([...dumpNar(`${scratch.join(`${runs}`)}-source`)]);
      const from = at % (archive.length + 1);
      const damaged = Buffer.concat([archive.subarray(0, from), inserted, archive.subarray(from + removed)]);
      try {
        await restoreNar(cut(damaged, 37), `${directory}/target`);
        assert.ok(Buffer.concat([...dumpNar(`${directory}/target`)]).equals(damaged));
      } catch (error) {
        assert.ok(error instanceof LarderError || isTooLong(error), `${String(error)} is none of ours`);
      }
      assert.deepEqual(
        readdirSync(directory).filter((name) => name !== 'target'),
        [],
      );
    }),
    { numRuns: 300 },
  );
});

/** The file system's own limit on a name or a target. */
function isTooLong(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENAMETOOLONG';
}

function writeTree(path: string, node: Tree): void {
  if (node.type === 'link') {
    symlinkSync(node.target, path);
  } else if (node.type === 'file') {
    writeFileSync(path, node.contents);
    chmodSync(path, node.executable ? 0o755 : 0o644);
  } else {
    mkdirSync(path);
    for (const [name, child] of Object.entries(node.entries)) writeTree(`${path}/${name}`, child);
  }
}

async function* cut(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}
