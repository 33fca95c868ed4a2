import { type Command, measure, median, type ProcessCost } from '../bench/measure.js';
import type { Row } from '../bench/report.js';
import { componentCommand } from '../engines/components.js';
import { basicSettings, Machine } from './machine.js';
import { cacheSettings, publishSystem } from './signed-cache.js';

/** A rollback is held against this, in seconds: stock Nix has no one command that writes a boot menu too. */
const rollbackAim = 0.2;

interface Pair {
  readonly ours: ProcessCost;
  readonly theirs: ProcessCost;
}

/**
 * The example system by `larder rebuild`, against `nix-build` of the same expression in a store of its own: nothing
 * changed, one option changed, everything fetched; and a rollback.
 */
export async function benchRebuild(runs: number): Promise<readonly Row[]> {
  await using ours = await Machine.create();
  await using theirs = await Machine.create();
  const cache = await publishSystem(ours);
  await ours.rebuild('switch');
  await measure(nixBuild(theirs));

  const unchanged: Pair[] = [];
  const changed: Pair[] = [];
  const rollbacks: ProcessCost[] = [];
  for (let run = 0; run < runs; run++) {
    unchanged.push({ ours: await measure(larderBuild(ours)), theirs: await measure(nixBuild(theirs)) });
    const settings = [...basicSettings, `networking.hostName = "run-${run}";`];
    await Promise.all([ours.configure(settings), theirs.configure(settings)]);
    changed.push({ ours: await measure(larderBuild(ours)), theirs: await measure(nixBuild(theirs)) });
    await ours.rebuild('switch');
    rollbacks.push(await measure(larder(ours, ['rollback'])));
    await Promise.all([ours.configure(basicSettings), theirs.configure(basicSettings)]);
    await ours.rebuild('switch');
  }

  const fetched: Pair[] = [];
  for (let run = 0; run < runs; run++) fetched.push(await fetchOnce(cache));
  const rollback = median(rollbacks.map(({ seconds }) => seconds));
  return [
    compare('Rebuild, nothing changed', unchanged),
    compare('Rebuild, one option changed (built)', changed),
    compare('Rebuild, the closure fetched into an empty store', fetched),
    {
      what: 'Rollback, with boot menu and activation, against its aim',
      larder: formatSeconds(rollback),
      reference: formatSeconds(rollbackAim),
      ratio: rollback / rollbackAim,
      aim: 1,
      memory: formatMemory(rollbacks),
    },
  ];
}

async function fetchOnce({ directory, publicKey }: { directory: string; publicKey: string }): Promise<Pair> {
  await using ours = await Machine.create();
  await using theirs = await Machine.create();
  const settings = cacheSettings(`file://${directory}`, publicKey);
  return {
    ours: await measure(larder(ours, ['build', '--no-out-link', ...settings])),
    theirs: await measure(nixBuild(theirs, settings)),
  };
}

function larderBuild(machine: Machine): Command {
  return larder(machine, ['build', '--no-out-link']);
}

function larder(machine: Machine, args: readonly string[]): Command {
  return { command: process.execPath, args: machine.rebuildArguments(args), env: machine.env };
}

function nixBuild(machine: Machine, settings: readonly string[] = []): Command {
  const include = machine.searchPath.flatMap((entry) => ['-I', entry]);
  const what = ['<nixpkgs/nixos>', '--attr', 'system', '--no-out-link', '--store', machine.root];
  const command = componentCommand('nix', 'nix-build');
  return { command, args: [...what, ...include, ...settings], env: machine.env };
}

function compare(what: string, pairs: readonly Pair[]): Row {
  const ours = pairs.map((pair) => pair.ours);
  const theirs = pairs.map((pair) => pair.theirs);
  return {
    what,
    larder: formatSeconds(median(ours.map(({ seconds }) => seconds))),
    reference: `nix-build ${formatSeconds(median(theirs.map(({ seconds }) => seconds)))}`,
    ratio: median(pairs.map((pair) => pair.ours.seconds / pair.theirs.seconds)),
    aim: 1,
    memory: `${formatMemory(ours)} / ${formatMemory(theirs)}`,
  };
}

function formatSeconds(seconds: number): string {
  return `${seconds.toFixed(2)} s`;
}

function formatMemory(costs: readonly ProcessCost[]): string {
  return `${Math.round(Math.max(...costs.map(({ memory }) => memory)))} MB`;
}
