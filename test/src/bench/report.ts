import { readFile, writeFile } from 'node:fs/promises';
import { cpus, totalmem } from 'node:os';
import { fileURLToPath } from 'node:url';

/** One figure: what was measured, for us and for what it is held against. */
export interface Row {
  readonly what: string;
  readonly larder: string;
  readonly reference: string;
  /** Wall time (or memory) of ours over theirs: smaller is better. */
  readonly ratio: number;
  /** The ratio it should stay below. */
  readonly aim: number;
  /** Peak resident memory. */
  readonly memory: string;
}

export interface Circumstances {
  readonly paths: number;
  readonly bytes: number;
  readonly runs: number;
  readonly nix: string;
}

/** Whether every figure met its aim. */
export function meetsAims(rows: readonly Row[]): boolean {
  return rows.every(({ ratio, aim }) => ratio <= aim);
}

/** The table as it is printed and kept in `test/bench/README.md`. */
export function formatTable(rows: readonly Row[]): string {
  const lines = rows.map(formatRow);
  return ['| | Larder | against | ratio | aim | peak memory |', '|---|--:|--:|--:|--:|---|', ...lines].join(
    '\n',
  );
}

function formatRow({ what, larder, reference, ratio, aim, memory }: Row): string {
  const verdict = ratio <= aim ? '' : ' (missed)';
  const goal = Number.isFinite(aim) ? `${aim}` : '–';
  const part = ratio.toFixed(ratio < 0.1 ? 4 : 2);
  return `| ${what} | ${larder} | ${reference} | ${part} | ${goal}${verdict} | ${memory} |`;
}

const reportFile = fileURLToPath(new URL('../../bench/README.md', import.meta.url));

/** Puts rows into `test/bench/README.md`: each in the place of the one of its name, else behind the others. */
export async function updateReport(rows: readonly Row[]): Promise<void> {
  const lines = (await readFile(reportFile, 'utf8')).split('\n');
  for (const row of rows) {
    const there = lines.findIndex((line) => line.startsWith(`| ${row.what} |`));
    const after = lines.findLastIndex((line) => line.startsWith('|')) + 1;
    lines.splice(there < 0 ? after : there, there < 0 ? 0 : 1, formatRow(row));
  }
  await writeFile(reportFile, lines.join('\n'));
}

/** Writes `test/bench/README.md`. */
export async function writeReport(rows: readonly Row[], at: Circumstances): Promise<void> {
  const [cpu] = cpus();
  const gigabytes = Math.round(totalmem() / 2 ** 30);
  const text = `# Benchmarks

\`npm run bench\` makes a closure of ${at.paths} paths and ${Math.round(at.bytes / 1e6)} MB (half of it compressible, sizes spread
as in real closures, real references), runs everything below in turn with what it is held against, and writes this file.
Ratios are of wall time, ours over theirs, so smaller is better: medians of ${at.runs} paired runs of whole processes,
start-up included. Servers and clients share the machine. nginx serves the very files of the server's bucket; both
log every request to a file, and are asked by wrk. \`nix copy\` uses zstd where nothing else is said (its default, xz, takes many times as long).

${formatTable(rows)}

Measured with ${cpus().length} cores (${cpu?.model.trim() ?? 'unknown'}), ${gigabytes} GB of memory, Node ${process.version}, ${at.nix}.
`;
  await writeFile(reportFile, text);
}
