import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { componentCommand } from '../engines/components.js';
import { makeScratch } from '../engines/scratch.js';
import { Nix } from '../oracle/nix.js';
import { type Command, measure, median, type ProcessCost } from './measure.js';
import { writeModuleSet } from './module-set.js';
import { writePackageSet } from './package-set.js';
import type { Row } from './report.js';

const executable = fileURLToPath(new URL('../../../deploy/bin/larder.js', import.meta.url));

const packages = 600;
const modules = 160;

interface Input {
  readonly what: string;
  readonly arguments: readonly string[];
}

/** Cold is with an empty store and no evaluation cache; the second run finds both as the first left them. */
interface Costs {
  readonly cold: { readonly ours: ProcessCost; readonly theirs: ProcessCost }[];
  readonly second: { readonly ours: ProcessCost; readonly theirs: ProcessCost }[];
}

/** Instantiates a package with all it depends on and a configuration of many modules, each in a store of its own. */
export async function benchEvaluation(runs: number): Promise<readonly Row[]> {
  await using scratch = await makeScratch('bench-evaluation');
  await writePackageSet(scratch.join('packages'), packages);
  await writeModuleSet(scratch.join('modules'), modules);
  const inputs: readonly Input[] = [
    {
      what: `a package and its ${packages} dependencies`,
      arguments: [scratch.join('packages'), '-A', `p${packages - 1}`],
    },
    { what: `a configuration of ${modules} modules`, arguments: [scratch.join('modules'), '-A', 'toplevel'] },
  ];
  const rows: Row[] = [];
  for (const input of inputs) {
    const costs: Costs = { cold: [], second: [] };
    for (let run = 0; run < runs; run++) await instantiateTwice(input, costs);
    rows.push(compare(`Instantiating ${input.what}`, costs.cold, 2));
    rows.push(compare(`Instantiating ${input.what} again`, costs.second, 1));
  }
  return rows;
}

async function instantiateTwice(input: Input, costs: Costs): Promise<void> {
  await using ours = await Nix.create({ storeDir: 'diverted' });
  await using theirs = await Nix.create({ storeDir: 'diverted' });
  await checkSame(input, ours);
  for (const list of [costs.cold, costs.second]) {
    list.push({
      ours: await measure(larder(ours, input.arguments)),
      theirs: await measure(nixInstantiate(theirs, input.arguments)),
    });
  }
}

/** Both must give the same derivation, or the figures mean nothing. Nothing is written or kept by this. */
async function checkSame(input: Input, nix: Nix): Promise<void> {
  const dry = [
    '--eval',
    '--readonly-mode',
    ...input.arguments.slice(0, -1),
    `${input.arguments.at(-1)}.drvPath`,
  ];
  const { runProgram } = await import('../oracle/program.js');
  const ours = larder(nix, ['--option', 'eval-cache', 'false', ...dry]);
  const printed = await runProgram(ours.command, ours.args, { env: ours.env });
  assert.equal(printed.toString().trimEnd(), await nix.run('nix-instantiate', dry));
}

function larder(nix: Nix, args: readonly string[]): Command {
  return { command: process.execPath, args: [executable, 'instantiate', ...args], env: nix.environment };
}

function nixInstantiate(nix: Nix, args: readonly string[]): Command {
  return { command: componentCommand('nix', 'nix-instantiate'), args, env: nix.environment };
}

function compare(what: string, pairs: Costs['cold'], aim: number): Row {
  const seconds = (side: 'ours' | 'theirs'): string =>
    `${median(pairs.map((pair) => pair[side].seconds)).toFixed(2)} s`;
  const memory = (side: 'ours' | 'theirs'): string =>
    `${Math.round(Math.max(...pairs.map((pair) => pair[side].memory)))} MB`;
  return {
    what,
    larder: seconds('ours'),
    reference: `nix-instantiate ${seconds('theirs')}`,
    ratio: median(pairs.map((pair) => pair.ours.seconds / pair.theirs.seconds)),
    aim,
    memory: `${memory('ours')} / ${memory('theirs')}`,
  };
}
