// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are placeholders of the Nix language
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { chmod } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { Nix } from '../oracle/nix.js';
import { prelude } from './derivation-kinds.js';
import { buildWithLarder, larderExecutable } from './larder-build.js';

type Settings = Readonly<Record<string, string>>;

export const faultSettings: Settings = {
  sandbox: 'true',
  'sandbox-paths': '/bin /lib /lib64 /usr',
  'max-jobs': '3',
};

/** Builds above each other and beside each other; `mark` is seen among processes. */
export interface BuildGraph {
  readonly mark: string;
  readonly expression: string;
}

/** A graph like no other of these tests. Each of its four lowest builds takes `seconds` and gives so many bytes. */
export function makeGraph(name: string, { seconds = 0.1, bytes = 1000 } = {}): BuildGraph {
  const mark = `fault-${process.pid}-${name}`;
  const expression = `let ${prelude}
  leaf = n: sh ": ${mark}; mkdir $out; head -c ${bytes} /dev/urandom > $out/data; echo ${mark} > $out/mark; echo $out > $out/self; sleep ${seconds}; ln $out/mark $out/link" { name = "leaf-${'${toString n}'}"; };
  middle = n: sh ": ${mark}; cat ${'${leaf n}'}/mark > $out; echo ${'${leaf (n + 1)}'} >> $out; sleep ${seconds}; echo $out > $dev" { name = "middle-${'${toString n}'}"; outputs = [ "out" "dev" ]; };
  in sh ": ${mark}; echo ${'${middle 1}'} ${'${middle 2}'} ${'${middle 3}'} > $out" { name = "${mark}"; }`;
  return { mark, expression };
}

/** Makes a store whose builds may run as users of their own. */
export async function createFaultStore(settings: Settings = {}): Promise<Nix> {
  const store = await Nix.create({ settings: { ...faultSettings, ...settings } });
  await chmod(store.scratch.path, 0o755);
  return store;
}

/** A build under way, to which something is about to happen. */
export interface RunningBuild {
  readonly child: ChildProcess;
  /** Settled once it has said something, and so has begun, or has ended. */
  readonly begun: Promise<unknown>;
  /** Its exit status, `null` if it was killed, and what it said. */
  readonly ended: Promise<{ readonly status: number | null; readonly said: string }>;
}

export interface StartOptions {
  readonly settings?: Settings;
  readonly environment?: Readonly<Record<string, string>>;
}

/** Starts `larder build` without waiting for it. */
export function startBuild(
  store: Nix,
  derivation: string,
  { settings = {}, environment = {} }: StartOptions = {},
): RunningBuild {
  const options = Object.entries({ ...faultSettings, ...settings }).flatMap(([key, value]) => [
    '--option',
    `${key}=${value}`,
  ]);
  const target = ['--store', `local?root=${store.root}`];
  const child = spawn(
    process.execPath,
    [
      ...[larderExecutable, 'build', '--no-out-link', '--log-format', 'plain'],
      ...[...target, ...options, derivation],
    ],
    { env: { ...store.environment, ...environment }, stdio: ['ignore', 'ignore', 'pipe'] },
  );
  const exit = once(child, 'close') as Promise<[number | null]>;
  const begun = Promise.race([once(child.stderr, 'data'), exit]);
  const ended = Promise.all([exit, text(child.stderr)]).then(([[status], said]) => ({ status, said }));
  return { child, begun, ended };
}

/** The next run: it must complete, and leave nothing running. */
export async function completeBuild(
  store: Nix,
  derivation: string,
  { settings = {}, environment = {} }: StartOptions = {},
): Promise<string> {
  const finished = await buildWithLarder(store, [derivation], { ...faultSettings, ...settings }, environment);
  assert.equal(finished.status, 0, finished.stderr);
  return finished.stderr;
}

/** Stock Nix finds every valid path as it was registered. */
export async function assertSound(store: Nix): Promise<void> {
  const verified = await store.try('nix-store', ['--verify', '--check-contents']);
  assert.equal(verified.status, 0, verified.stderr);
  assert.doesNotMatch(verified.stderr, /error|modified|disappeared|missing/);
}

/** What a builder had started ends with it. */
export async function waitForEnd({ mark }: BuildGraph): Promise<void> {
  for (let tries = 0; runningBuilds(mark).length > 0; tries++) {
    assert.ok(tries < 100, `builds outlive their builder: ${runningBuilds(mark).join(', ')}`);
    await sleep(50);
  }
}

/** Numbers of the processes that builds of a graph have: its scripts and the sandboxes around them. */
export function runningBuilds(mark: string): number[] {
  const numbers = readdirSync('/proc').filter((name) => {
    if (!/^\d+$/.test(name) || name === String(process.pid)) return false;
    try {
      return readFileSync(`/proc/${name}/cmdline`, 'latin1').includes(`: ${mark};`);
    } catch {
      return false; // It ended meanwhile.
    }
  });
  return numbers.map(Number);
}
