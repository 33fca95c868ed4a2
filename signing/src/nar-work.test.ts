import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { compress, decompress } from './codec.js';
import { collect, cut, sampleBytes } from './codec-sample.js';
import type { Compression } from './compression.js';
import { hasCode } from './errors.js';
import { computeHash, type Hash } from './hash.js';
import { NarWork } from './nar-work.js';
import { writeNar } from './nar-writer.js';
import { readSeekTable } from './seek-table.js';

const WRITTEN: readonly Compression[] = ['none', 'xz', 'zstd', 'gzip', 'br', 'lzma'];
const REFERENCE = 'dbl1b3s7bhz3i0cvl1fjq0lakgnyqjcl';
const CANDIDATES = ['0000000000000000000000000000000a', REFERENCE];

describe('NAR work', () => {
  const scratch = mkdtempSync(join(tmpdir(), 'larder-nar-work-'));
  const work = new NarWork({ size: 2 });
  after(async () => {
    await work.close();
    rmSync(scratch, { recursive: true });
  });

  /** A tree with a reference, an executable, a link and a file of `size` bytes; its NAR too. */
  async function makeTree(name: string, size: number): Promise<{ path: string; nar: Buffer; narHash: Hash }> {
    const path = join(scratch, name);
    mkdirSync(join(path, 'bin'), { recursive: true });
    writeFileSync(join(path, 'bin/run'), `#!/nix/store/${REFERENCE}-bash/bin/sh\n`, { mode: 0o755 });
    symlinkSync('bin/run', join(path, 'link'));
    writeFileSync(join(path, 'data'), sampleBytes(size));
    const nar = await collect(writeNar(path));
    return { path, nar, narHash: computeHash('sha256', nar) };
  }

  test('verifies every compression and says all about the archive', async () => {
    const { nar, narHash } = await makeTree('verify', 1_500_000);
    for (const compression of WRITTEN) {
      const file = await collect(compress(cut(nar), compression, { level: 1 }));
      const { output, result } = work.verifyNar(cut(file), {
        compression,
        narHash,
        narSize: nar.length,
        candidates: CANDIDATES,
        output: 'seekable',
        listing: true,
      });
      const stored = await collect(output);
      const verified = await result;
      assert.ok((await collect(decompress(cut(stored), 'zstd'))).equals(nar));
      assert.equal(readSeekTable(stored)!.size, nar.length);
      assert.ok(verified.narHash.equals(narHash));
      assert.ok(verified.fileHash.equals(computeHash('sha256', file)));
      assert.ok(verified.outputHash.equals(computeHash('sha256', stored)));
      const sizes = [verified.narSize, verified.fileSize, verified.outputSize];
      assert.deepEqual(sizes, [nar.length, file.length, stored.length]);
      assert.deepEqual(verified.references, [REFERENCE]);
      assert.equal(verified.seekable, true);
      assert.ok(verified.listing?.type === 'directory' && 'bin' in verified.listing.entries);
    }
  });

  test('passes seekable zstd through as it came, and tells it from plain zstd', async () => {
    const { path, nar, narHash } = await makeTree('pass', 2_000_000);
    const seekable = await collect(work.dumpNar(path, { compression: 'zstd' }).output);
    const plain = await collect(compress(cut(nar), 'zstd'));
    for (const [file, expected] of [
      [seekable, true],
      [plain, false],
    ] as const) {
      const { output, result } = work.verifyNar(cut(file), { compression: 'zstd', narHash, output: 'same' });
      assert.ok((await collect(output)).equals(file));
      const verified = await result;
      assert.equal(verified.seekable, expected);
      assert.ok(verified.outputHash.equals(computeHash('sha256', file)));
    }
  });

  test('refuses archives that are not what was promised', async () => {
    const { nar, narHash } = await makeTree('refuse', 100_000);
    const other = computeHash('sha256', 'another');
    const damaged = Buffer.from(nar);
    damaged[4000]! ^= 1;
    const cases: [string, Uint8Array, Compression, object][] = [
      ['nar-hash-mismatch', nar, 'none', { narHash: other }],
      ['nar-hash-mismatch', damaged, 'none', { narHash }],
      ['nar-size-mismatch', nar, 'none', { narSize: nar.length + 8 }],
      ['codec-too-large', nar, 'none', { narSize: nar.length - 8 }],
      ['codec-too-large', nar, 'none', { maxSize: 1000 }],
      ['nar-malformed', nar.subarray(0, -8), 'none', {}],
      ['nar-malformed', Buffer.concat([nar, nar]), 'none', {}],
      ['codec-malformed', nar, 'zstd', {}],
      ['codec-truncated', (await collect(compress(cut(nar), 'xz'))).subarray(0, -3), 'xz', {}],
    ];
    for (const [code, file, compression, expected] of cases) {
      for (const output of ['none', 'seekable'] as const) {
        const job = work.verifyNar(cut(file), { compression, output, ...expected });
        await assert.rejects(collect(job.output), (error) => hasCode(error, code));
        await assert.rejects(job.result, (error) => hasCode(error, code));
      }
    }
    await assert.rejects(
      work.restoreNar(cut(damaged), { compression: 'none', narHash, target: join(scratch, 'damaged') }),
      (error) => hasCode(error, 'nar-hash-mismatch') && error.fields.expected === String(narHash),
    );
  });

  test('restores what it dumped, in every compression', async () => {
    const { path, nar, narHash } = await makeTree('dump', 1_500_000);
    for (const compression of WRITTEN) {
      const dumped = work.dumpNar(path, { compression, level: 1, candidates: CANDIDATES });
      const file = await collect(dumped.output);
      const { references, narSize, ...dump } = await dumped.result;
      assert.ok(dump.narHash.equals(narHash));
      assert.deepEqual([narSize, references], [nar.length, [REFERENCE]]);
      const target = join(scratch, `restored-${compression}`);
      let seen = 0;
      const onBytes = (count: number) => {
        seen += count;
      };
      const restored = await work.restoreNar(cut(file), { compression, target, narHash, narSize, onBytes });
      assert.equal(seen, narSize);
      assert.equal(restored.fileSize, file.length);
      assert.ok((await work.hashPath(target)).narHash.equals(narHash));
    }
  });

  test('an archive of several frames is compressed on all cores', async () => {
    const { path, nar, narHash } = await makeTree('frames', 40_000_000);
    const { output, result } = work.dumpNar(path, { compression: 'zstd', narSize: nar.length });
    const file = await collect(output);
    assert.equal(readSeekTable(file)!.frames.length, 3);
    assert.ok((await result).narHash.equals(narHash));
    const verified = work.verifyNar(cut(file), { compression: 'zstd', narHash, output: 'same' });
    await collect(verified.output);
    assert.equal((await verified.result).seekable, true);
  });

  test('errors of the file system come through', async () => {
    const missing = join(scratch, 'missing');
    await assert.rejects(work.hashPath(missing), { code: 'ENOENT', path: missing });
    const { output } = work.dumpNar(missing, { compression: 'zstd', narSize: 1e9 });
    await assert.rejects(collect(output), { code: 'ENOENT' });
    const { nar } = await makeTree('exists', 10);
    await assert.rejects(work.restoreNar(cut(nar), { compression: 'none', target: scratch }), (error) =>
      hasCode(error, 'restore-target-exists'),
    );
  });

  test('an abort ends each kind of work, and nothing runs on behind it', async () => {
    const { path, nar } = await makeTree('abort', 60_000_000);
    async function* endless(): AsyncGenerator<Uint8Array> {
      yield nar.subarray(0, 30_000_000);
      await new Promise((resolve) => setTimeout(resolve, 300));
      yield nar.subarray(30_000_000);
    }
    const start: ((signal: AbortSignal) => Promise<unknown>)[] = [
      (signal) => work.hashPath(path, { signal }),
      (signal) => collect(work.dumpNar(path, { compression: 'xz', signal }).output),
      (signal) => collect(work.dumpNar(path, { compression: 'zstd', narSize: nar.length, signal }).output),
      (signal) => work.verifyNar(endless(), { compression: 'none', signal }).result,
      (signal) => work.restoreNar(endless(), { compression: 'none', target: join(scratch, 'cut'), signal }),
    ];
    for (const begin of start) {
      const abort = new AbortController();
      setTimeout(() => abort.abort(new Error('enough')), 10);
      await assert.rejects(begin(abort.signal), /enough/);
    }
  });
});
