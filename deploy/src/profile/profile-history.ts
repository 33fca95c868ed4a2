import { formatDate } from '../activate/boot-entry.js';
import { type ProfileElement, versionOf } from './manifest.js';
import type { UserProfile } from './user-profile.js';

/** One generation, as `history` shows it. */
export interface HistoryEntry {
  readonly generation: number;
  readonly date: string;
  readonly current: boolean;
  /** What differs from the generation before; `''` is an element without a version, absence is absence. */
  readonly changes: readonly { readonly name: string; readonly before?: string; readonly after?: string }[];
}

export async function listHistory(profile: UserProfile): Promise<HistoryEntry[]> {
  const current = await profile.currentNumber();
  const entries: HistoryEntry[] = [];
  let before: readonly ProfileElement[] = [];
  for (const generation of await profile.generations()) {
    const after = await profile.elementsOf(generation);
    entries.push({
      generation: generation.number,
      date: generation.date.toISOString(),
      current: generation.number === current,
      changes: compare(before, after),
    });
    before = after;
  }
  return entries;
}

function compare(
  before: readonly ProfileElement[],
  after: readonly ProfileElement[],
): HistoryEntry['changes'] {
  const find = (elements: readonly ProfileElement[], name: string): ProfileElement | undefined =>
    elements.find((element) => element.name === name);
  const names = [...new Set([...before, ...after].map(({ name }) => name))].sort();
  return names.flatMap((name) => {
    const [was, is] = [find(before, name), find(after, name)];
    if (was?.storePaths.join() === is?.storePaths.join()) return [];
    return [
      {
        name,
        before: was === undefined ? undefined : versionOf(was),
        after: is === undefined ? undefined : versionOf(is),
      },
    ];
  });
}

export function formatHistory(entries: readonly HistoryEntry[]): string {
  const say = (version: string | undefined): string =>
    version === undefined ? 'absent' : version || 'installed';
  return entries
    .map(({ generation, date, current, changes }) => {
      const head = `Generation ${generation} (${formatDate(new Date(date))})${current ? ', current' : ''}:`;
      const lines = changes.map(({ name, before, after }) => `  ${name}: ${say(before)} → ${say(after)}`);
      return [head, ...(lines.length === 0 ? ['  no change'] : lines)].join('\n');
    })
    .join('\n');
}
