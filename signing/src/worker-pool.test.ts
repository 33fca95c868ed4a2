import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { after, describe, test } from 'node:test';
import fc from 'fast-check';
import { collect, cut, repeat } from './codec-sample.js';
import { hasCode, LarderError } from './errors.js';
import { WINDOW_SIZE } from './worker-channel.js';
import { WorkerPool } from './worker-pool.js';
import type { SampleJobs } from './worker-sample.js';

const MODULE = new URL('./worker-sample.js', import.meta.url);

describe('a worker pool', () => {
  const pool = new WorkerPool<SampleJobs>(MODULE, { size: 2 });
  after(() => pool.close());

  test('runs jobs with parameters and results', async () => {
    const sums = Array.from({ length: 100 }, (_, i) => pool.run('add', { a: i, b: 1 }).result);
    assert.deepEqual(
      await Promise.all(sums),
      Array.from({ length: 100 }, (_, i) => i + 1),
    );
  });

  test('streams bytes in and out unchanged, however they are cut', async () => {
    const sizes = fc.array(fc.integer({ min: 0, max: 400_000 }), { minLength: 1, maxLength: 5 });
    const data = randomBytes(3_000_000);
    await fc.assert(
      fc.asyncProperty(sizes, fc.integer({ min: 0, max: data.length }), async (cuts, length) => {
        const bytes = data.subarray(0, length);
        const job = pool.run('echo', null, {
          input: cut(
            bytes,
            cuts.map((size) => size + 7),
          ),
        });
        assert.ok((await collect(job.output)).equals(bytes));
        assert.deepEqual(await job.result, { size: length });
      }),
      { numRuns: 30 },
    );
  });

  test('serves many streams at a time on few threads', async () => {
    const echoed = Array.from({ length: 40 }, async (_, i) => {
      const bytes = Buffer.alloc(50_000 * i, i);
      return (await collect(pool.run('echo', null, { input: cut(bytes, [777]) }).output)).equals(bytes);
    });
    assert.ok((await Promise.all(echoed)).every(Boolean));
  });

  test('jobs that wait for a source or a reader leave the thread to others', async () => {
    await using narrow = new WorkerPool<SampleJobs>(MODULE, { size: 1, jobsPerWorker: 1 });
    let feed: () => void = () => {};
    const fed = new Promise<void>((resolve) => {
      feed = resolve;
    });
    async function* source(): AsyncGenerator<Uint8Array> {
      yield Buffer.alloc(100);
      await fed;
    }
    const starved = narrow.run('echo', null, { input: source() });
    assert.equal(await narrow.run('add', { a: 1, b: 2 }).result, 3);
    const unread = narrow.run('emit', { size: 10 * WINDOW_SIZE });
    assert.equal(await narrow.run('add', { a: 3, b: 4 }).result, 7);
    assert.equal((await collect(unread.output)).length, 10 * WINDOW_SIZE);
    feed();
    assert.equal((await starved.result).size, 100);
  });

  test('a slow reader holds the job back, and the job its source', async () => {
    let given = 0;
    async function* source(): AsyncGenerator<Uint8Array> {
      for (const chunk = Buffer.alloc(100_000); ; given += chunk.length) yield chunk;
    }
    const job = pool.run('echo', null, { input: source() });
    for await (const _ of job.output) {
      await new Promise((resolve) => setTimeout(resolve, 300));
      break;
    }
    // A window each way, the batch being read, and what the worker holds between them.
    assert.ok(given > WINDOW_SIZE && given < 4 * WINDOW_SIZE, `${given} bytes were taken`);
    await assert.rejects(job.result, (error) => hasCode(error, 'job-abandoned'));
  });

  test('takes parameters and gives results without copying', async () => {
    const bytes = new Uint8Array(1_000_000);
    const { result } = pool.run('fill', { bytes }, { transfer: [bytes.buffer] });
    assert.equal(bytes.length, 0);
    assert.ok((await result).every((byte) => byte === 9));
  });

  test("errors keep class, code, fields and cause; a system error keeps what it's of", async () => {
    await assert.rejects(pool.run('fail', { kind: 'larder' }).result, (error) => {
      assert.ok(hasCode(error, 'sample-failed'));
      assert.deepEqual(error.fields, { path: '/x', at: 3 });
      assert.equal((error.cause as Error).name, 'RangeError');
      return error.message === 'it failed';
    });
    await assert.rejects(pool.run('fail', { kind: 'system' }).result, {
      message: 'no',
      code: 'ENOENT',
      syscall: 'open',
      path: '/x',
      errno: -2,
    });
    await assert.rejects(pool.run('fail', { kind: 'text' }).result, { message: 'just text' });
  });

  test("a failing source is the job's own error, the very object", async () => {
    const error = new Error('cable cut');
    async function* source(): AsyncGenerator<Uint8Array> {
      yield Buffer.alloc(10);
      throw error;
    }
    const job = pool.run('echo', null, { input: source() });
    await assert.rejects(collect(job.output), (seen) => seen === error);
    await assert.rejects(job.result, (seen) => seen === error);
  });

  test('an abort stops a job that reads, one that writes and one that only computes', async () => {
    const reason = new Error('enough');
    const start = (signal: AbortSignal) => [
      pool.run('echo', null, { input: repeat(Buffer.alloc(1000), 1e12), signal }),
      pool.run('emit', { size: 1e12 }, { signal }),
      pool.run('spin', null, { signal }),
    ];
    const abort = new AbortController();
    const jobs = start(abort.signal);
    setTimeout(() => abort.abort(reason), 100);
    for (const { result } of jobs) await assert.rejects(result, (error) => error === reason);
    for (const { result } of start(abort.signal)) await assert.rejects(result, (error) => error === reason);
    assert.equal(await pool.run('add', { a: 1, b: 2 }).result, 3);
  });

  for (const how of ['throw', 'exit'] as const) {
    test(`a crash (${how}) fails the jobs of its thread, and the pool heals`, async () => {
      await assert.rejects(pool.run('crash', { how }).result, (error) => hasCode(error, 'worker-crashed'));
      const sums = Array.from({ length: 10 }, (_, i) => pool.run('add', { a: i, b: 0 }).result);
      assert.deepEqual(await Promise.all(sums), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    });
  }
});

test('jobs beyond what the threads take wait their turn; nested ones do not', async () => {
  await using pool = new WorkerPool<SampleJobs>(MODULE, { size: 1, jobsPerWorker: 1 });
  const abort = new AbortController();
  const first = pool.run('spin', null, { signal: abort.signal });
  const queued = pool.run('add', { a: 1, b: 1 });
  const nested = pool.run('add', { a: 2, b: 2 }, { nested: true });
  assert.equal(await nested.result, 4);
  const early = await Promise.race([
    queued.result,
    new Promise((resolve) => setTimeout(resolve, 50, 'waits')),
  ]);
  assert.equal(early, 'waits');
  abort.abort();
  await assert.rejects(first.result);
  assert.equal(await queued.result, 2);
});

test('closing fails what runs and what waits', async () => {
  const pool = new WorkerPool<SampleJobs>(MODULE, { size: 1, jobsPerWorker: 1 });
  const jobs = [pool.run('spin', null), pool.run('spin', null)];
  const outcomes = Promise.allSettled(jobs.map((job) => job.result));
  await pool.close();
  for (const outcome of await outcomes) {
    assert.ok(outcome.status === 'rejected' && hasCode(outcome.reason, 'worker-pool-closed'));
  }
  await assert.rejects(pool.run('add', { a: 1, b: 1 }).result, LarderError);
});

test('threads start when needed, and idle ones let the process end', () => {
  const script = `
    import { WorkerPool } from ${JSON.stringify(new URL('./worker-pool.js', import.meta.url).href)};
    const pool = new WorkerPool(new URL(${JSON.stringify(MODULE.href)}), { size: 4 });
    console.log(process.getActiveResourcesInfo().filter((name) => /worker|message/i.test(name)).length);
    console.log(await pool.run('add', { a: 20, b: 22 }).result);
  `;
  const output = execFileSync(process.execPath, ['--input-type=module', '-e', script], { timeout: 10_000 });
  assert.equal(output.toString(), '0\n42\n');
});

test('a thread without work ends, and the next job gets a new one', async () => {
  await using pool = new WorkerPool<SampleJobs>(MODULE, { size: 1, idleTimeout: 20 });
  const threadOf = async () => (await pool.run('thread', null).result).id;
  const [first, again] = [await threadOf(), await threadOf()];
  assert.equal(first, again);
  while (pool.threads > 0) await new Promise((resolve) => setTimeout(resolve, 10));
  assert.notEqual(await threadOf(), first);
});
