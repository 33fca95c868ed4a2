import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdir, readdir } from 'node:fs/promises';
import { basename } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { makeClosure } from '../closures/closure.js';
import { importClosure } from '../closures/nix-import.js';
import { SeededRandom } from '../closures/random.js';
import { needsComponent } from '../engines/components.js';
import { Larder } from '../larder/larder.js';
import { LarderServer } from '../larder/server.js';
import { Nix } from '../oracle/nix.js';

const rounds = 25;

test(`kill -9 of 'larder copy', ${rounds} times: no partial path is valid, and the next run completes`, async (t) => {
  if (!needsComponent(t, 'nix')) return;
  const seed = `${Date.now()}`;
  t.diagnostic(`seed ${seed}`);
  const random = new SeededRandom(seed);
  await using larder = await Larder.create();
  await using nix = await Nix.create();
  await using server = await LarderServer.start(larder);
  const objects = await makeClosure(nix.scratch.join('trees'), { seed: 'copy', paths: 25, bytes: 8_000_000 });
  const paths = await importClosure(nix, objects);
  const top = paths.at(-1) ?? '';
  const from = ['--store', `local?root=${nix.root}`];
  await larder.run(['push', server.cache, top, ...from, '--token-file', server.tokenFile]);
  const [key = ''] = await server.publicKeys();
  let usual = 1000;
  let interrupted = 0;
  const outcomes: number[] = [];
  // Round 0 is left alone: it tells how long a copy takes.
  for (let round = 0; round <= rounds; round += 1) {
    await using target = await Nix.create();
    await mkdir(target.root ?? '', { recursive: true });
    const to = `local?root=${target.root}`;
    const copy = () =>
      larder.start(['copy', '--from', server.cache, '--to', to, '--trusted-public-keys', key, top]);
    const started = Date.now();
    const copying = copy();
    const ended = once(copying, 'exit');
    if (round === 0) {
      assert.deepEqual(await ended, [0, null]);
      usual = Date.now() - started;
    } else {
      await Promise.race([delay((0.2 + 0.85 * random.fraction()) * usual), ended]);
      // A machine that has become faster than it was in round 0 needs an earlier aim.
      if (copying.exitCode !== null) usual = Math.min(usual, Date.now() - started);
      copying.kill('SIGKILL');
      await ended;
      const valid = await assertSound(target);
      if (copying.signalCode === 'SIGKILL' && (await hasBegun(target))) interrupted += 1;
      outcomes.push(valid.length);
    }
    assert.deepEqual(await once(copy(), 'exit'), [0, null], 'the next run completes');
    assert.deepEqual(await assertSound(target), [...paths].sort());
    // What a killed run left half made is gone or was taken over: nothing but valid paths is in the store.
    const left = (await readdir(target.realStoreDir)).filter((name) => name !== '.links');
    assert.deepEqual(left.sort(), paths.map((path) => basename(path)).sort());
  }
  t.diagnostic(`${interrupted} of ${rounds} copies were under way when they were killed`);
  t.diagnostic(`valid paths after each: ${outcomes.join(' ')}`);
  assert.ok(interrupted > rounds / 3, 'too few copies were under way: the test proves too little');
});

/** Whether anything at all was put below the store's directory. */
async function hasBegun(store: Nix): Promise<boolean> {
  return (await readdir(store.realStoreDir)).some((name) => name !== '.links');
}

/** Nix finds every valid path whole, and with it all that it refers to; returns the valid paths, sorted. */
async function assertSound(store: Nix): Promise<readonly string[]> {
  const { status, stderr } = await store.try('nix-store', ['--verify', '--check-contents']);
  assert.equal(status, 0, stderr);
  assert.doesNotMatch(stderr, /error|modified|disappeared|missing/);
  const valid = (await store.run('nix', ['path-info', '--all'])).split('\n').filter((line) => line !== '');
  if (valid.length === 0) return [];
  const requisites = (await store.run('nix-store', ['--query', '--requisites', ...valid])).split('\n');
  assert.deepEqual([...new Set(requisites)].sort(), [...valid].sort());
  return valid.sort();
}
