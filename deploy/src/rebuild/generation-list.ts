import { formatDate } from '../activate/boot-entry.js';
import { readBootSpec } from '../activate/boot-spec.js';
import type { MachineRoot } from '../activate/machine-root.js';
import { type Generation, systemProfile } from '../activate/profile.js';

/** One generation, as `list-generations` shows it. */
export interface ListedGeneration {
  readonly generation: number;
  readonly date: string;
  readonly label: string;
  /** The kernel's package, such as `linux-6.1.0`; empty for a system without one. */
  readonly kernel: string;
  readonly path: string;
  readonly current: boolean;
}

/** The system profile's generations, the newest first. */
export async function listGenerations(root: MachineRoot, profileName?: string): Promise<ListedGeneration[]> {
  const profile = systemProfile(root, profileName);
  const current = await profile.currentNumber();
  const generations = (await profile.list()).reverse();
  return Promise.all(generations.map((generation) => describe(root, generation, current)));
}

async function describe(
  root: MachineRoot,
  { number, date, target }: Generation,
  current: number | undefined,
): Promise<ListedGeneration> {
  // A generation whose files are damaged is still listed: it may be the one to get rid of.
  const spec = await readBootSpec(root, target).catch(() => undefined);
  return {
    generation: number,
    date: date.toISOString(),
    label: spec?.label ?? '',
    kernel: spec === undefined ? '' : (spec.kernel.split('/').at(-2)?.slice(33) ?? ''),
    path: target,
    current: number === current,
  };
}

export function formatGenerations(generations: readonly ListedGeneration[]): string {
  const rows = generations.map((each) => [
    each.generation.toString(),
    formatDate(new Date(each.date)),
    each.label,
    each.kernel,
    each.current ? 'current' : '',
  ]);
  const table = [['Generation', 'Made', 'Label', 'Kernel', ''], ...rows];
  const widths = [0, 1, 2, 3].map((column) => Math.max(...table.map((row) => row[column]!.length)));
  return table
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
