import { readFile, writeFile } from 'node:fs/promises';
import { LarderError } from '@larder/signing/errors';
import { componentCommand } from '../engines/components.js';
import { makeScratch } from '../engines/scratch.js';
import { tryProgram } from '../oracle/program.js';

/** What a whole process took, start-up and all. */
export interface ProcessCost {
  readonly seconds: number;
  /** Peak resident memory in MB. */
  readonly memory: number;
  /** Seconds of CPU, all threads together. */
  readonly cpu: number;
}

export interface Command {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/** Runs a command to its end and measures it. @throws LarderError `program-failed` */
export async function measure({ command, args, env }: Command): Promise<ProcessCost> {
  await using scratch = await makeScratch('measure');
  const file = scratch.join('cost');
  const started = performance.now();
  const result = await tryProgram(
    componentCommand('load', 'time'),
    ['--format', '%M %U %S', '--output', file, command, ...args],
    { env },
  );
  const seconds = (performance.now() - started) / 1000;
  if (result.status !== 0) {
    throw new LarderError('program-failed', `${command} ${args.join(' ').slice(0, 200)}:\n${result.stderr}`);
  }
  const [memory = 0, user = 0, system = 0] = (await readFile(file, 'utf8')).split(' ').map(Number);
  return { seconds, memory: memory / 1024, cpu: user + system };
}

/** The peak resident memory of a running process so far, in MB. */
export async function peakMemory(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) / 1024;
}

/** Begins the peak anew; gives what the process has now, in MB. */
export async function resetPeakMemory(pid: number): Promise<number> {
  await writeFile(`/proc/${pid}/clear_refs`, '5');
  return peakMemory(pid);
}

/** Seconds of CPU that a running process has used so far, all its threads together. */
export async function cpuSeconds(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8');
  // Behind the name in parentheses, which may hold anything, the times are fields 12 and 13, in hundredths.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** The same of a process and all its children together. */
export async function peakMemoryOfAll(pid: number): Promise<number> {
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8');
  const pids = [pid, ...children.split(' ').filter(Boolean).map(Number)];
  const peaks = await Promise.all(pids.map(peakMemory));
  return peaks.reduce((sum, peak) => sum + peak, 0);
}

/** The middle of the values. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((left, right) => left - right);
  const middle = Math.floor(sorted.length / 2);
  const [low = 0, high = 0] = [sorted[middle - (sorted.length % 2 === 0 ? 1 : 0)], sorted[middle]];
  return (low + high) / 2;
}
