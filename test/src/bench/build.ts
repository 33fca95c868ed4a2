import { writeFile } from 'node:fs/promises';
import { makeClosure } from '../closures/closure.js';
import { importClosure } from '../closures/nix-import.js';
import { startNginx } from '../engines/nginx.js';
import { larderExecutable } from '../larder/larder.js';
import { Nix, type NixOptions } from '../oracle/nix.js';
import { type Command, measure, median, type ProcessCost } from './measure.js';
import type { Row } from './report.js';
import { plainSettings } from './setting.js';
import { startSlowLink } from './slow-link.js';

const builds = 500;
const paths = 2000;

/** Of the way to a cache elsewhere: milliseconds, and bits a second. */
const roundTrip = 25;
const rate = 200e6;

/** What both are told: as many builds at a time as there are processors. */
const settings = { ...plainSettings, 'max-jobs': 'auto', 'require-sigs': 'false' } as const;
const sandboxed = { ...settings, sandbox: 'true', 'sandbox-paths': '/bin /lib /lib64 /usr' } as const;

interface Pair {
  readonly ours: ProcessCost;
  readonly theirs: ProcessCost;
}

/** Building many trivial derivations, and planning and fetching what a cache has, against `nix-build`. */
export async function benchBuilding(runs: number): Promise<readonly Row[]> {
  return [...(await benchWideGraph(runs)), ...(await benchSubstitution(runs))];
}

/** A derivation over `builds` others that do next to nothing: what is measured is what surrounds a build. */
const wideGraph = `
  let
    leaf = n: derivation {
      name = "leaf-\${toString n}"; system = builtins.currentSystem; builder = "/bin/sh";
      args = [ "-c" "echo \${toString n} > $out" ];
    };
  in derivation {
    name = "wide"; system = builtins.currentSystem; builder = "/bin/sh";
    args = [ "-c" "echo $leaves > $out" ]; leaves = builtins.genList leaf ${builds};
  }`;

async function benchWideGraph(runs: number): Promise<Row[]> {
  const kinds: readonly [string, NixOptions][] = [
    ['in a sandbox', { settings: sandboxed }],
    ['without a sandbox', { settings, storeDir: 'diverted' }],
  ];
  const rows: Row[] = [];
  for (const [how, options] of kinds) {
    const pairs: Pair[] = [];
    for (let run = 0; run < runs; run++) {
      await using ours = await prepareStore(options);
      await using theirs = await prepareStore(options);
      pairs.push({
        ours: await measure(larderBuild(ours, [file(ours)])),
        theirs: await measure(nixBuild(theirs, [file(theirs)])),
      });
    }
    rows.push(compare(`Building ${builds} trivial derivations ${how}`, pairs));
  }
  return rows;
}

async function prepareStore(options: NixOptions): Promise<Nix> {
  const nix = await Nix.create(options);
  await writeFile(file(nix), wideGraph);
  return nix;
}

const file = (nix: Nix): string => nix.scratch.join('expression.nix');

/** A derivation whose output a cache has, with all of a closure behind it. */
const asked = `derivation {
  name = "asked"; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" "exit 1" ];
}`;

async function benchSubstitution(runs: number): Promise<Row[]> {
  await using origin = await Nix.create({ settings });
  const { derivation, cache } = await fillCache(origin);
  await using nginx = await startNginx(cache);
  await using link = await startSlowLink(Number(new URL(nginx.url).port), { roundTrip, rate });
  const plans: Pair[] = [];
  const distantPlans: Pair[] = [];
  const fetches: Pair[] = [];
  for (let run = 0; run < runs; run++) {
    plans.push(await runBoth(nginx.url, ['--dry-run', derivation]));
    distantPlans.push(await runBoth(link.url, ['--dry-run', derivation]));
    if (run < 3) fetches.push(await runBoth(nginx.url, [derivation]));
  }
  const what = `Planning to fetch ${paths.toLocaleString('en')} paths`;
  return [
    compare(`${what}, the cache ${roundTrip} ms away`, distantPlans),
    compare(`${what}, the cache on this machine`, plans),
    compare('Fetching them from this machine', fetches),
  ];
}

/** Each with a store of its own that has nothing of the cache, and asks the cache for all. */
async function runBoth(cache: string, args: readonly string[]): Promise<Pair> {
  await using ours = await prepareUser(cache);
  await using theirs = await prepareUser(cache);
  return { ours: await measure(larderBuild(ours, args)), theirs: await measure(nixBuild(theirs, args)) };
}

/** Makes a closure of small paths that ends in the output of a derivation, and a cache in a directory with all of it. */
async function fillCache(origin: Nix): Promise<{ derivation: string; cache: string }> {
  const [derivation = ''] = await origin.instantiate(asked);
  const output = origin.storeDir.parse(await origin.run('nix-store', ['--query', '--outputs', derivation]));
  const options = { seed: 'build', paths: paths - 1, bytes: paths * 4000 };
  const objects = await makeClosure(origin.scratch.join('trees'), options);
  const below = objects.at(-1)!;
  const tree = origin.scratch.join('asked');
  await writeFile(tree, origin.storeDir.format(below.storePath));
  const deriver = origin.storeDir.parse(derivation);
  const top = { storePath: output, tree, references: [below.storePath], deriver };
  const imported = await importClosure(origin, [...objects, top]);
  const cache = origin.scratch.join('cache');
  await origin.run('nix', ['copy', '--to', `file://${cache}?compression=zstd`, imported.at(-1) ?? '']);
  return { derivation, cache };
}

/** A store that has the derivation, and no path of the cache. */
async function prepareUser(cache: string): Promise<Nix> {
  const nix = await Nix.create({ settings: { ...settings, substituters: cache } });
  await nix.instantiate(asked);
  return nix;
}

function larderBuild(nix: Nix, args: readonly string[]): Command {
  const store = nix.root === undefined ? [] : ['--store', `local?root=${nix.root}`];
  const command = [larderExecutable, 'build', '--no-out-link', '--log-format', 'plain', ...store, ...args];
  return { command: process.execPath, args: command, env: nix.environment };
}

function nixBuild(nix: Nix, args: readonly string[]): Command {
  return nix.command('nix-build', ['--no-out-link', ...args]);
}

function compare(what: string, pairs: readonly Pair[]): Row {
  const seconds = (of: keyof Pair) => median(pairs.map((pair) => pair[of].seconds)).toFixed(2);
  const memory = (of: keyof Pair) => Math.max(...pairs.map((pair) => pair[of].memory)).toFixed(0);
  return {
    what,
    larder: `${seconds('ours')} s`,
    reference: `nix-build ${seconds('theirs')} s`,
    ratio: median(pairs.map(({ ours, theirs }) => ours.seconds / theirs.seconds)),
    aim: 1,
    memory: `larder ${memory('ours')} MB, nix ${memory('theirs')} MB`,
  };
}
