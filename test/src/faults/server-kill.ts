import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import type { TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { storePathHashPart } from '@larder/signing/store-path';
import { makeClosure } from '../closures/closure.js';
import { importClosure } from '../closures/nix-import.js';
import { SeededRandom } from '../closures/random.js';
import { needsComponent } from '../engines/components.js';
import { freePort } from '../engines/scratch.js';
import { Larder } from '../larder/larder.js';
import { LarderServer } from '../larder/server.js';
import { Nix } from '../oracle/nix.js';
import { startRecordingProxy } from './recording-proxy.js';
import { assertServedWhole, fetchNarInfo } from './served-cache.js';

/** What publishes to the server while that is killed. */
export type Publisher = 'larder push' | 'nix copy';

/**
 * Kills a server `rounds` times, each at a random moment of a push. After each: nothing acknowledged is lost, nothing
 * partial is visible, and the next push completes.
 */
export async function killServerDuring(t: TestContext, client: Publisher, rounds: number): Promise<void> {
  if (!needsComponent(t, 'nix')) return;
  const seed = `${Date.now()}`;
  t.diagnostic(`seed ${seed}`);
  const random = new SeededRandom(seed);
  await using larder = await Larder.create();
  await using nix = await Nix.create();
  const port = await freePort();
  // Whoever comes after a killed server waits for its leases to lapse: with the usual 30 s, the rounds would be waiting only.
  const config = larder.scratch.join('larder.toml');
  await writeFile(config, '[uploads]\nlease = "2 s"\n');
  const start = () => LarderServer.start(larder, { port, args: ['--config', config] });
  const push = (cache: string, paths: readonly string[]) =>
    client === 'nix copy'
      ? nix.start('nix', ['copy', '--to', `${cache}?compression=zstd`, ...paths])
      : larder.start([
          ...['push', cache, ...paths, '--store', `local?root=${nix.root}`],
          ...['--token-file', larder.scratch.join('data/admin-token')],
        ]);
  const everAcknowledged = new Set<string>();
  let usual = 1000;
  let interrupted = 0;
  let server = await start();
  try {
    await nix.login(await server.token());
    // Round 0 is left alone: it tells how long a push takes.
    for (let round = 0; round <= rounds; round += 1) {
      const trees = nix.scratch.join(`trees-${round}`);
      const objects = await makeClosure(trees, { seed: `${round}`, paths: 8, bytes: 4_000_000 });
      const paths = await importClosure(nix, objects);
      {
        await using proxy = await startRecordingProxy(port);
        const started = Date.now();
        const pushing = push(`${proxy.url}/main`, paths);
        const ended = once(pushing, 'exit');
        if (round === 0) {
          assert.deepEqual(await ended, [0, null]);
          usual = Date.now() - started;
        } else {
          await Promise.race([delay((0.2 + 0.85 * random.fraction()) * usual), ended]);
          if (pushing.exitCode === null) interrupted += 1;
          else {
            assert.equal(pushing.exitCode, 0, 'a push that nobody disturbed');
            // The machine has become faster than it was in round 0: aim earlier.
            usual = Math.min(usual, Date.now() - started);
          }
        }
        await server.stop('SIGKILL');
        pushing.kill('SIGKILL');
        await ended;
        for (const hashPart of proxy.acknowledged) everAcknowledged.add(hashPart);
      }
      server = await start();
      for (const hashPart of everAcknowledged) {
        assert.ok(await fetchNarInfo(server.cache, hashPart), `${hashPart} was acknowledged and is lost`);
      }
      for (const { storePath } of objects) {
        const info = await fetchNarInfo(server.cache, storePathHashPart(storePath));
        if (info !== undefined) await assertServedWhole(server.cache, info);
      }
      assert.deepEqual(await once(push(server.cache, paths), 'exit'), [0, null], 'the next run completes');
      for (const { storePath } of objects) {
        const info = await fetchNarInfo(server.cache, storePathHashPart(storePath));
        assert.ok(info, `${storePath} is missing after the next run`);
        await assertServedWhole(server.cache, info);
      }
    }
  } finally {
    await server.stop();
  }
  t.diagnostic(`${interrupted} of ${rounds} pushes were under way when the server died`);
  assert.ok(interrupted > rounds / 3, 'too few pushes were under way: the test proves too little');
}
