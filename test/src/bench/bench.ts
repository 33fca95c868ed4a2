import { parseArgs } from 'node:util';
import { deferRemoval } from '../engines/scratch.js';
import { Nix } from '../oracle/nix.js';
import { benchRebuild } from '../rebuild/rebuild-bench.js';
import { benchBuilding } from './build.js';
import { benchDeltas } from './delta.js';
import { benchEvaluation } from './evaluate.js';
import { benchMemory } from './memory.js';
import { benchProxied } from './proxied.js';
import { formatTable, meetsAims, type Row, updateReport, writeReport } from './report.js';
import { benchScaleOnPostgres, benchScaleOnSqlite } from './scale.js';
import { benchServing } from './serve.js';
import { prepareSetting, type Setting } from './setting.js';
import { benchSlowLink } from './slow.js';
import { benchCopy, benchPush, checkPrograms } from './transfer.js';

const closure = { paths: 300, bytes: 400_000_000 };

type Part = (setting: Setting, runs: number) => Promise<readonly Row[]>;

const onClosure: Readonly<Record<string, Part>> = {
  serve: (setting, runs) => benchServing(setting, { runs: Math.min(runs, 3), seconds: 4 }),
  copy: benchCopy,
  push: benchPush,
};

/** Those that make what they need themselves. */
const alone: Readonly<Record<string, (runs: number) => Promise<readonly Row[]>>> = {
  build: benchBuilding,
  evaluate: benchEvaluation,
  memory: benchMemory,
  slow: benchSlowLink,
  delta: benchDeltas,
  proxy: benchProxied,
  rebuild: benchRebuild,
  'scale-sqlite': benchScaleOnSqlite,
  'scale-postgresql': benchScaleOnPostgres,
};

const names = [...Object.keys(onClosure), ...Object.keys(alone)];

/**
 * Runs the benchmarks: all of them, or those named, whose rows of the report are replaced and no others. Returns the exit
 * code: 1 when a figure misses its aim.
 */
export async function main(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { runs: { type: 'string', default: '5' } },
  });
  const unknown = positionals.filter((name) => !names.includes(name));
  if (unknown.length > 0) {
    console.error(`No benchmark is called ${unknown.join(', ')}; there are ${names.join(', ')}.`);
    return 2;
  }
  checkPrograms();
  await using _kept = deferRemoval();
  const wanted = positionals.length === 0 ? names : positionals;
  const runs = Number(values.runs);
  const rows = await runOnClosure(wanted, runs);
  for (const [name, part] of Object.entries(alone)) {
    if (wanted.includes(name)) rows.push(...show(name, await part(runs)));
  }
  if (positionals.length === 0) await writeReport(rows, { ...closure, runs, nix: await nixVersion() });
  else await updateReport(rows);
  console.log('\nWritten to test/bench/README.md');
  return meetsAims(rows) ? 0 : 1;
}

async function runOnClosure(wanted: readonly string[], runs: number): Promise<Row[]> {
  const parts = Object.entries(onClosure).filter(([name]) => wanted.includes(name));
  if (parts.length === 0) return [];
  console.log(`Making a closure of ${closure.paths} paths and ${closure.bytes / 1e6} MB`);
  await using setting = await prepareSetting(closure);
  const rows: Row[] = [];
  for (const [name, part] of parts) rows.push(...show(name, await part(setting, runs)));
  return rows;
}

function show(name: string, rows: readonly Row[]): readonly Row[] {
  console.log(`\n${name}\n${formatTable(rows)}`);
  return rows;
}

async function nixVersion(): Promise<string> {
  await using nix = await Nix.create();
  return await nix.run('nix', ['--version']);
}
