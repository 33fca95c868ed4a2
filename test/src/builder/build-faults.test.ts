import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, statfsSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { needsComponent } from '../engines/components.js';
import { faultRounds } from '../engines/config.js';
import { Larder } from '../larder/larder.js';
import { LarderServer } from '../larder/server.js';
import type { Nix } from '../oracle/nix.js';
import { tryProgram } from '../oracle/program.js';
import {
  assertSound,
  completeBuild,
  createFaultStore,
  makeGraph,
  runningBuilds,
  startBuild,
  waitForEnd,
} from './fault-stage.js';
import { larderExecutable } from './larder-build.js';

const rounds = faultRounds();

/** A moment in a run that takes so many milliseconds, the start and what comes after it left out. */
const someMoment = (usual: number): number => (0.05 + 0.9 * Math.random()) * usual;

test(`kill -9 of the builder, ${rounds} times: the store stays valid, the next run completes`, async (t) => {
  if (!needsComponent(t, 'nix') || !needsComponent(t, 'sandbox')) return;
  await using store = await createFaultStore();
  let interrupted = 0;
  for (let run = 0, graphs = 0; run < rounds; graphs++) {
    const graph = makeGraph(`builder-${graphs}`);
    const [derivation = ''] = await store.instantiate(graph.expression);
    // The same graph until it is through: what earlier ones left behind must not be in the way.
    for (let through = false; !through && run < rounds; run++) {
      const build = startBuild(store, derivation);
      await build.begun;
      await Promise.race([sleep(someMoment(900)), build.ended]);
      build.child.kill('SIGKILL');
      through = (await build.ended).status === 0;
      if (!through) interrupted++;
      await waitForEnd(graph);
      await assertSound(store);
    }
    await completeBuild(store, derivation);
    assert.deepEqual(runningBuilds(graph.mark), []);
    await assertSound(store);
  }
  await assertNothingLeft(store);
  report(t, interrupted);
});

test(`kill -9 of a process of a build, ${rounds} times: that build fails, and nothing else is harmed`, async (t) => {
  if (!needsComponent(t, 'nix') || !needsComponent(t, 'sandbox')) return;
  await using store = await createFaultStore();
  let interrupted = 0;
  for (let run = 0; run < rounds; run++) {
    const graph = makeGraph(`process-${run}`, { seconds: 0.3 });
    const [derivation = ''] = await store.instantiate(graph.expression);
    const build = startBuild(store, derivation);
    const victim = await findProcess(graph.mark, Promise.race([sleep(10_000), build.ended]));
    await sleep(Math.random() * 300);
    const killed = victim !== undefined && tryKill(victim);
    const { status, said } = await build.ended;
    if (status !== 0) {
      assert.ok(killed, said);
      assert.match(said, /builder for '.*' failed/);
      interrupted++;
    }
    await waitForEnd(graph);
    await assertSound(store);
    await completeBuild(store, derivation);
    await assertSound(store);
  }
  await assertNothingLeft(store);
  report(t, interrupted);
});

test(`kill -9 of the cache, ${rounds} times: what it does not give is built, and the next run fetches`, async (t) => {
  if (!needsComponent(t, 'nix') || !needsComponent(t, 'sandbox')) return;
  await using origin = await createFaultStore();
  await using store = await createFaultStore();
  await using larder = await Larder.create();
  const graph = makeGraph('cache', { seconds: 0, bytes: 8_000_000 });
  const [derivation = ''] = await origin.instantiate(graph.expression);
  const output = await origin.run('nix-store', ['--realise', derivation]);
  let server = await LarderServer.start(larder);
  try {
    const { port, cache, tokenFile } = server;
    await larder.run([
      'push',
      cache,
      output,
      '--store',
      `local?root=${origin.root}`,
      '--token-file',
      tokenFile,
    ]);
    const [key = ''] = await server.publicKeys();
    const settings = {
      substituters: cache,
      'trusted-public-keys': key,
      'download-attempts': '2',
      fallback: 'true',
    };
    let usual = 0;
    let interrupted = 0;
    // Round 0 is left alone: it tells how long a run takes.
    for (let run = 0; run <= rounds; run++) {
      await store.instantiate(graph.expression);
      const build = startBuild(store, derivation, { settings });
      await build.begun;
      const begun = Date.now();
      if (run > 0) {
        await Promise.race([sleep(someMoment(usual)), build.ended]);
        await server.stop('SIGKILL');
      }
      const { status, said } = await build.ended;
      assert.equal(status, 0, said);
      if (run === 0) usual = Date.now() - begun;
      else if (/^building/m.test(said)) interrupted++;
      await assertSound(store);
      if (run > 0) server = await LarderServer.start(larder, { port });
      await emptyStore(store);
      await store.instantiate(graph.expression);
      assert.doesNotMatch(await completeBuild(store, derivation, { settings }), /^building/m);
      await assertSound(store);
      await emptyStore(store);
    }
    report(t, interrupted);
  } finally {
    await server.stop();
  }
});

test(`a full disk, ${rounds} times: the store stays valid, and with more room the next run completes`, async (t) => {
  if (!needsComponent(t, 'nix') || !needsComponent(t, 'sandbox')) return;
  await using store = await createFaultStore();
  await using disk = mountDisk(store.root!);
  if (disk === undefined) return t.skip('file systems of a limited size cannot be mounted here');
  const environment = { TMPDIR: `${store.root}/tmp` };
  let needed = 0;
  let interrupted = 0;
  // Round 0 has room: it tells how much a run takes.
  for (let run = 0; run <= rounds; run++) {
    mkdirSync(environment.TMPDIR, { recursive: true });
    const graph = makeGraph(`disk-${run}`, { seconds: 0, bytes: 500_000 });
    const [derivation = ''] = await store.instantiate(graph.expression);
    const before = disk.used();
    if (run > 0) disk.resize(before + Math.random() * needed);
    const { status, said } = await startBuild(store, derivation, { environment }).ended;
    if (run === 0) {
      assert.equal(status, 0, said);
      needed = disk.used() - before;
    } else if (status !== 0) {
      interrupted++;
      assert.match(said, /no space left|disk is full/i);
    }
    disk.resize(roomy);
    await waitForEnd(graph);
    await assertSound(store);
    await completeBuild(store, derivation, { environment });
    await assertSound(store);
    await assertNothingLeft(store);
  }
  report(t, interrupted);
});

/** A process of the builds, as soon as there is one, or nothing once `end` comes. */
async function findProcess(mark: string, end: Promise<unknown>): Promise<number | undefined> {
  let over = false;
  void end.then(() => (over = true));
  while (!over) {
    const found = runningBuilds(mark);
    if (found.length > 0) return found[Math.floor(Math.random() * found.length)];
    await sleep(10);
  }
  return undefined;
}

/** Whether the process was still there. */
function tryKill(number: number): boolean {
  try {
    return process.kill(number, 'SIGKILL');
  } catch {
    return false;
  }
}

const roomy = 64 * 1024 * 1024;

interface Disk extends AsyncDisposable {
  /** Bytes in use. */
  used(): number;
  /** To so many bytes, rounded up to pages. */
  resize(bytes: number): void;
}

/** A file system of its own in a directory, or `undefined` where that needs more rights than there are. */
function mountDisk(directory: string): Disk | undefined {
  mkdirSync(directory);
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${roomy}`, 'larder-test', directory], {
      stdio: 'ignore',
    });
  } catch {
    return undefined;
  }
  return {
    used() {
      const { bsize, blocks, bfree } = statfsSync(directory);
      return bsize * (blocks - bfree);
    },
    resize(bytes) {
      execFileSync('mount', ['-o', `remount,size=${Math.ceil(bytes / 4096) * 4096}`, directory]);
    },
    async [Symbol.asyncDispose]() {
      execFileSync('umount', [directory]);
    },
  };
}

async function collectGarbage(store: Nix): Promise<void> {
  const collected = await tryProgram(
    process.execPath,
    [larderExecutable, 'gc', '--store', `local?root=${store.root}`],
    { env: store.environment },
  );
  assert.equal(collected.status, 0, collected.stderr);
}

/** A fault at the very end leaves locks and sandboxes that no later build has a reason to look at: garbage. */
async function assertNothingLeft(store: Nix): Promise<void> {
  await collectGarbage(store);
  assert.deepEqual(readdirSync(store.realStoreDir), ['.links']);
}

const emptyStore = assertNothingLeft;

function report(t: { diagnostic(message: string): void }, interrupted: number): void {
  t.diagnostic(`${interrupted} of ${rounds} runs were under way when it happened`);
  // Few rounds may all come too late by chance.
  if (rounds >= 10)
    assert.ok(interrupted > rounds / 3, 'too few runs were under way: the test proves too little');
}
