import { parseDerivationName } from './package-name.js';
import type { ClosurePath } from './pipeline.js';

/** One package, by name, that differs between two closures. */
export interface PackageChange {
  readonly name: string;
  /** Versions, sorted; none where the package is not there. `''` is a package without a version. */
  readonly before: readonly string[];
  readonly after: readonly string[];
  /** Bytes, unpacked. */
  readonly sizeChange: number;
}

export interface ClosureDiff {
  readonly added: readonly PackageChange[];
  readonly removed: readonly PackageChange[];
  /** Other versions. */
  readonly changed: readonly PackageChange[];
  /** The same versions made anew: of something they depend on, there is another. */
  readonly rebuilt: readonly PackageChange[];
  readonly sizeBefore: number;
  readonly sizeAfter: number;
}

/** Compares closures package by package. Paths are full or base names. */
export function diffClosures(before: readonly ClosurePath[], after: readonly ClosurePath[]): ClosureDiff {
  const [old, now] = [groupByName(before), groupByName(after)];
  const diff = { added: [], removed: [], changed: [], rebuilt: [] } as Record<Kind, PackageChange[]>;
  for (const name of [...new Set([...old.keys(), ...now.keys()])].sort()) {
    const [was, is] = [old.get(name), now.get(name)];
    const kind = kindOfChange(was, is);
    if (kind === undefined) continue;
    diff[kind].push({
      name,
      before: versions(was),
      after: versions(is),
      sizeChange: totalSize(is ?? []) - totalSize(was ?? []),
    });
  }
  return { ...diff, sizeBefore: totalSize(before), sizeAfter: totalSize(after) };
}

type Kind = 'added' | 'removed' | 'changed' | 'rebuilt';

interface VersionedPath extends ClosurePath {
  readonly version: string;
}

function groupByName(paths: readonly ClosurePath[]): Map<string, VersionedPath[]> {
  const groups = new Map<string, VersionedPath[]>();
  for (const each of paths) {
    const { name, version } = parseDerivationName(each.path.replace(/^.*\//, '').slice(33));
    const group = groups.get(name);
    if (group === undefined) groups.set(name, [{ ...each, version }]);
    else group.push({ ...each, version });
  }
  return groups;
}

function kindOfChange(
  was: readonly VersionedPath[] | undefined,
  is: readonly VersionedPath[] | undefined,
): Kind | undefined {
  if (was === undefined) return 'added';
  if (is === undefined) return 'removed';
  if (versions(was).join() !== versions(is).join()) return 'changed';
  const same = was.length === is.length && was.every(({ path }) => is.some((each) => each.path === path));
  return same ? undefined : 'rebuilt';
}

function versions(paths: readonly VersionedPath[] | undefined): string[] {
  return [...new Set((paths ?? []).map(({ version }) => version))].sort();
}

function totalSize(paths: readonly ClosurePath[]): number {
  return paths.reduce((sum, { narSize }) => sum + narSize, 0);
}
