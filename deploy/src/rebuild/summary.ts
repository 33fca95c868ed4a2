import type { ClosureDiff, PackageChange } from './closure-diff.js';
import { parseDerivationName } from './package-name.js';
import type { ClosurePath, RealisationPlan } from './pipeline.js';

const MOST_NAMES = 40;

/**
 * What is going to happen, before it does: what is fetched and built, and which versions change by it. What has
 * not been built has no closure yet; which packages go is known only afterwards, and {@link formatDiff} says it.
 */
export function formatPlan(plan: RealisationPlan, current: readonly ClosurePath[]): string {
  const lines: string[] = [];
  if (plan.toFetch.length > 0) {
    const sizes = [
      plan.downloadSize === undefined ? '' : `${formatSize(plan.downloadSize)} to download`,
      plan.unpackedSize === undefined ? '' : `${formatSize(plan.unpackedSize)} unpacked`,
    ].filter((text) => text !== '');
    lines.push(
      `To fetch: ${count(plan.toFetch.length, 'path')}${sizes.length > 0 ? ` (${sizes.join(', ')})` : ''}`,
    );
    lines.push(...nameLines(plan.toFetch));
  }
  if (plan.toBuild.length > 0) {
    lines.push(`To build: ${count(plan.toBuild.length, 'derivation')}`);
    lines.push(...nameLines(plan.toBuild));
  }
  if (lines.length === 0) return 'Nothing to fetch or build.';
  const coming = versionChanges(plan, current);
  if (coming.length > 0) lines.push('Versions that change:', ...coming.map((line) => `  ${line}`));
  return lines.join('\n');
}

function nameLines(paths: readonly string[]): string[] {
  const names = paths.map((path) => packageOf(path)).sort();
  const shown = names.slice(0, MOST_NAMES);
  const rest = names.length - shown.length;
  return [...shown.map((name) => `  ${name}`), ...(rest > 0 ? [`  and ${rest} more`] : [])];
}

/** Packages on the way whose name is in the current closure with other versions only. */
function versionChanges(plan: RealisationPlan, current: readonly ClosurePath[]): string[] {
  const installed = new Map<string, Set<string>>();
  for (const { path } of current) {
    const { name, version } = parseDerivationName(packageOf(path));
    installed.set(name, (installed.get(name) ?? new Set()).add(version));
  }
  const lines = new Set<string>();
  for (const path of [...plan.toFetch, ...plan.toBuild]) {
    const { name, version } = parseDerivationName(packageOf(path));
    const before = installed.get(name);
    if (version === '' || before === undefined || before.has(version)) continue;
    lines.add(`${name}: ${[...before].sort().join(', ') || 'no version'} → ${version}`);
  }
  return [...lines].sort();
}

/** What differs between the current system and the new one. */
export function formatDiff(diff: ClosureDiff): string {
  const sections = [
    section(
      'Changed',
      diff.changed,
      ({ before, after }) => `: ${listVersions(before)} → ${listVersions(after)}`,
    ),
    section('Added', diff.added, ({ after }) =>
      listVersions(after) === '' ? '' : ` ${listVersions(after)}`,
    ),
    section('Removed', diff.removed, ({ before }) =>
      listVersions(before) === '' ? '' : ` ${listVersions(before)}`,
    ),
    section('Made anew', diff.rebuilt, ({ after }) =>
      listVersions(after) === '' ? '' : ` ${listVersions(after)}`,
    ),
  ].flat();
  const size = `Closure: ${formatSize(diff.sizeAfter)} (${formatChange(diff.sizeAfter - diff.sizeBefore)})`;
  return [...(sections.length === 0 ? ['No package differs.'] : sections), size].join('\n');
}

function section(
  title: string,
  changes: readonly PackageChange[],
  describe: (change: PackageChange) => string,
): string[] {
  if (changes.length === 0) return [];
  const lines = changes.map((change) => {
    const size = change.sizeChange === 0 ? '' : ` (${formatChange(change.sizeChange)})`;
    return `  ${change.name}${describe(change)}${size}`;
  });
  return [`${title}:`, ...lines];
}

function listVersions(versions: readonly string[]): string {
  return versions
    .map((version) => version || 'no version')
    .join(', ')
    .replace(/^no version$/, '');
}

function packageOf(path: string): string {
  return path
    .replace(/^.*\//, '')
    .slice(33)
    .replace(/\.drv$/, '');
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}

function formatChange(bytes: number): string {
  if (bytes === 0) return 'as large as before';
  return `${bytes > 0 ? '+' : '−'}${formatSize(Math.abs(bytes))}`;
}

const PREFIXES = ['', 'k', 'M', 'G', 'T'];

/** Bytes for people, in powers of 1000. */
export function formatSize(bytes: number): string {
  let [value, power] = [bytes, 0];
  while (value >= 999.5 && power < PREFIXES.length - 1) [value, power] = [value / 1000, power + 1];
  return `${value.toFixed(power === 0 || value >= 99.95 ? 0 : 1)} ${PREFIXES[power]}B`;
}
