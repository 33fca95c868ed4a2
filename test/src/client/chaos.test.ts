import assert from 'node:assert/strict';
import { readdir, rm } from 'node:fs/promises';
import { after, before, describe, test } from 'node:test';
import { LarderError } from '@larder/signing/errors';
import type { StorePath } from '@larder/signing/store-path';
import { SeededRandom } from '../closures/random.js';
import { needsComponent } from '../engines/components.js';
import { chaosCopies } from '../engines/config.js';
import { makeScratch, type Scratch } from '../engines/scratch.js';
import { Nix } from '../oracle/nix.js';
import { bare, type SamplePath } from '../server/sample-path.js';
import { chaosFault } from './chaos.js';
import { type ChaosWorld, makeChaosWorld } from './chaos-world.js';
import { TestClient } from './client.js';
import { type FaultyCache, startFaultyCache, startFaultyRelay } from './faulty-cache.js';
import { assertNixVerifies } from './store-checks.js';

/** A copy that takes longer, in milliseconds, hangs: every wait in it is a second or two. */
const longest = 120_000;

interface Tally {
  copied: number;
  readonly refused: Map<string, number>;
  readonly mischief: Map<string, number>;
  deltas: number;
}

describe('copies from caches that go wrong at random', () => {
  let world: ChaosWorld;
  let client: TestClient;
  let scratch: Scratch;
  let nix: Nix;
  before(async () => {
    world = await makeChaosWorld();
    // The least that Nix's settings can say: what is waited for is waited for often here.
    client = TestClient.create('stalled-download-timeout = 1\nconnect-timeout = 1\ndownload-attempts = 2');
    scratch = await makeScratch('chaos-stores');
  });
  after(async () => {
    await client[Symbol.asyncDispose]();
    await world[Symbol.asyncDispose]();
    await scratch[Symbol.asyncDispose]();
  });

  test('end with what was published or a clear refusal, and a store that is sound', async (t) => {
    if (!needsComponent(t, 'nix')) return;
    await using stock = await Nix.create();
    nix = stock;
    const tally: Tally = { copied: 0, refused: new Map(), mischief: new Map(), deltas: 0 };
    // They wait more than they work, so many go at a time.
    const seeds = Array.from({ length: chaosCopies() }, (_, number) => `chaos-${number}`);
    const lane = async (): Promise<void> => {
      for (let seed = seeds.shift(); seed !== undefined; seed = seeds.shift()) await copyOnce(seed, tally);
    };
    await Promise.all(Array.from({ length: 8 }, lane));
    t.diagnostic(`${tally.copied} came, ${tally.deltas} of them with deltas`);
    t.diagnostic(`refused: ${show(tally.refused)}`);
    t.diagnostic(`the caches: ${show(tally.mischief)}`);
    assert.ok(tally.copied > 0 && tally.refused.size > 0 && tally.deltas > 0);
  });

  async function copyOnce(seed: string, tally: Tally): Promise<void> {
    const random = new SeededRandom(seed);
    const root = scratch.join(seed);
    const to = `local?root=${root}`;
    const { keys, old, fresh, bucket, server } = world;
    const copy = (paths: readonly SamplePath[], from: string[], onDelta = () => {}) =>
      client.copy(
        paths.map(({ storePath }) => storePath),
        {
          ...{ from, to, keys, requireSignatures: true, signal: AbortSignal.timeout(longest) },
          onEvent: (event) => event.type === 'finished' && event.delta === true && onDelta(),
        },
      );
    const honest = `file://${bucket}`;
    if (random.fraction() < 0.6) await copy([old.at(-1)!], [honest]);
    await using static_ = await startFaultyCache(bucket, () => false);
    const caches: FaultyCache[] = [];
    const from: string[] = [];
    for (let count = 1 + random.below(2); count > 0; count--) {
      const isLarder = random.fraction() < 0.6;
      const rate = [0.05, 0.2, 0.6][random.below(3)]!;
      const fault = chaosFault({ seed: `${seed}:${count}`, rate, stale: world.stale }, tally.mischief);
      const cache = await startFaultyRelay(isLarder ? server.url : static_.url, fault);
      caches.push(cache);
      from.push(isLarder ? `${cache.url}/main` : cache.url);
    }
    let deltas = 0;
    try {
      await copy([fresh.at(-1)!], from, () => deltas++);
      tally.copied++;
      if (deltas > 0) tally.deltas++;
      await assertSound(root, fresh);
    } catch (error) {
      assert.ok(
        error instanceof LarderError && error.message.length > 20,
        `${seed}: ${(error as Error).stack}`,
      );
      tally.refused.set(error.code, (tally.refused.get(error.code) ?? 0) + 1);
      await assertSound(root, []);
      // What did come is not in the way of the rest.
      await copy([fresh.at(-1)!], [honest]);
      await assertSound(root, fresh);
    } finally {
      for (const cache of caches) await cache[Symbol.asyncDispose]();
    }
    await rm(root, { recursive: true, force: true });
  }

  /** Every valid path is what was published, the needed ones are there, and nothing else lies about. */
  async function assertSound(root: string, needed: readonly SamplePath[]): Promise<void> {
    const published = new Map([...world.old, ...world.fresh].map((path) => [path.storePath, path]));
    const store = await client.openStore(root);
    const valid: StorePath[] = await store.queryAllValidPaths();
    for (const path of valid) {
      const { narHash, narSize } = await client.context.work.hashPath(store.realPath(path));
      const info = await store.queryPathInfo(path);
      const right = published.get(path);
      assert.ok(right !== undefined && info !== undefined, path);
      assert.equal(bare(narHash), bare(right.narHash), path);
      assert.deepEqual([bare(info.narHash), info.narSize], [bare(narHash), narSize], path);
      assert.deepEqual([...info.references].sort(), [...right.references].sort(), path);
    }
    await store.close();
    for (const { storePath } of needed) assert.ok(valid.includes(storePath), storePath);
    const lying = (await readdir(`${root}/nix/store`)).filter((name) => name !== '.links');
    assert.deepEqual(lying.sort(), valid.sort());
    await assertNixVerifies(nix, root);
  }
});

function show(counts: ReadonlyMap<string, number>): string {
  return [...counts]
    .sort(([, a], [, b]) => b - a)
    .map(([name, count]) => `${name} ${count}`)
    .join(', ');
}
