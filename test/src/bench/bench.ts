import { parseArgs } from 'node:util';
import { benchRebuild } from '../rebuild/rebuild-bench.js';
import { benchMemory } from './memory.js';
import { formatTable, meetsAims, type Row, writeReport } from './report.js';
import { benchServing } from './serve.js';
import { prepareSetting, type Setting } from './setting.js';
import { benchCopy, benchPush, checkPrograms } from './transfer.js';

const closure = { paths: 300, bytes: 400_000_000 };

const parts: Readonly<Record<string, (setting: Setting, runs: number) => Promise<readonly Row[]>>> = {
  serve: (setting, runs) => benchServing(setting, { runs: Math.min(runs, 3), seconds: 4 }),
  copy: benchCopy,
  push: benchPush,
  memory: benchMemory,
  rebuild: (_setting, runs) => benchRebuild(runs),
};

/**
 * Runs the benchmarks: all of them, or those named, in which case the report is printed and not kept. Returns the exit
 * code: 1 when a figure misses its aim.
 */
export async function main(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { runs: { type: 'string', default: '5' } },
  });
  const unknown = positionals.filter((name) => parts[name] === undefined);
  if (unknown.length > 0) {
    console.error(
      `No benchmark is called ${unknown.join(', ')}; there are ${Object.keys(parts).join(', ')}.`,
    );
    return 2;
  }
  checkPrograms();
  const runs = Number(values.runs);
  console.log(`Making a closure of ${closure.paths} paths and ${closure.bytes / 1e6} MB`);
  await using setting = await prepareSetting(closure);
  const rows: Row[] = [];
  for (const [name, part] of Object.entries(parts)) {
    if (positionals.length > 0 && !positionals.includes(name)) continue;
    console.log(`Running ${name}`);
    const measured = await part(setting, runs);
    console.log(formatTable(measured));
    rows.push(...measured);
  }
  if (positionals.length === 0) {
    await writeReport(rows, { ...closure, runs, nix: await setting.nix.run('nix', ['--version']) });
    console.log('\nWritten to test/bench/README.md');
  }
  return meetsAims(rows) ? 0 : 1;
}
