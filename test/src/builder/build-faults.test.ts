// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are placeholders of the Nix language
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { chmod, readdir } from 'node:fs/promises';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { needsComponent } from '../engines/components.js';
import { Nix } from '../oracle/nix.js';
import { tryProgram } from '../oracle/program.js';
import { prelude } from './derivation-kinds.js';
import { buildWithLarder, larderExecutable } from './larder-build.js';

const settings = { sandbox: 'true', 'sandbox-paths': '/bin /lib /lib64 /usr', 'max-jobs': '3' };
const runs = 12;

/** A few builds that take a moment each, one above the other and beside each other; `mark` is seen among processes. */
const graph = (mark: string) => `let ${prelude}
  leaf = n: sh "mkdir $out; echo ${mark} > $out/mark; echo $out > $out/self; sleep 0.1; ln $out/mark $out/link" { name = "leaf-${'${toString n}'}"; };
  middle = n: sh "cat ${'${leaf n}'}/mark > $out; echo ${'${leaf (n + 1)}'} >> $out; sleep 0.1; echo $out > $dev" { name = "middle-${'${toString n}'}"; outputs = [ "out" "dev" ]; };
  in sh "echo ${'${middle 1}'} ${'${middle 2}'} ${'${middle 3}'} > $out" { name = "${mark}"; }`;

test(`a builder that is killed at ${runs} moments leaves a valid store, and the next one completes`, async (t) => {
  if (!needsComponent(t, 'nix') || !needsComponent(t, 'sandbox')) return;
  await using store = await Nix.create({ settings });
  await chmod(store.scratch.path, 0o755);
  for (let run = 0, graphs = 0; run < runs; graphs++) {
    const mark = `fault-${process.pid}-${graphs}`;
    const [derivation = ''] = await store.instantiate(graph(mark));
    // The same graph until it is through: what earlier ones left behind must not be in the way.
    for (let completed = false; !completed && run < runs; run++)
      completed = await buildAndKill(store, derivation);
    const finished = await buildWithLarder(store, [derivation], settings);
    assert.equal(finished.status, 0, finished.stderr);
    assert.deepEqual(runningBuilds(mark), []);
  }
  const verified = await store.try('nix-store', ['--verify', '--check-contents']);
  assert.equal(verified.status, 0, verified.stderr);
  assert.doesNotMatch(verified.stderr, /error|modified|disappeared/);
  // A kill at the very end leaves locks and sandboxes that no later build has a reason to look at: garbage.
  const collected = await tryProgram(
    process.execPath,
    [larderExecutable, 'gc', '--store', `local?root=${store.root}`],
    { env: store.environment },
  );
  assert.equal(collected.status, 0, collected.stderr);
  assert.deepEqual(await readdir(store.realStoreDir), ['.links']);
});

/** Whether the build was through before it could be killed. */
async function buildAndKill(store: Nix, derivation: string): Promise<boolean> {
  const options = Object.entries(settings).flatMap(([key, value]) => ['--option', `${key}=${value}`]);
  const child = spawn(
    process.execPath,
    [
      larderExecutable,
      'build',
      '--no-out-link',
      '--store',
      `local?root=${store.root}`,
      ...options,
      derivation,
    ],
    { env: store.environment, stdio: ['ignore', 'ignore', 'pipe'] },
  );
  const ended = once(child, 'exit') as Promise<[number | null]>;
  // Not before it does something, and then at any moment.
  await Promise.race([once(child.stderr, 'data'), ended]);
  child.stderr.resume();
  await Promise.race([sleep(Math.random() * 1500), ended]);
  child.kill('SIGKILL');
  const [status] = await ended;
  if (status === 0) return true;
  await waitForEnd(derivation);
  return false;
}

/** What it had started ends with it. */
async function waitForEnd(derivation: string): Promise<void> {
  const mark = /fault-[\d-]+\d/.exec(derivation)![0];
  for (let tries = 0; runningBuilds(mark).length > 0; tries++) {
    assert.ok(tries < 100, `builds outlive their builder: ${runningBuilds(mark).join(', ')}`);
    await sleep(50);
  }
}

/** Process numbers of builders whose script has the mark in it. */
function runningBuilds(mark: string): string[] {
  return readdirSync('/proc').filter((name) => {
    if (!/^\d+$/.test(name) || name === String(process.pid)) return false;
    try {
      return readFileSync(`/proc/${name}/cmdline`, 'latin1').includes(`echo ${mark} >`);
    } catch {
      return false; // It ended meanwhile.
    }
  });
}
