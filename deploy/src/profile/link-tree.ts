import { mkdirSync, readdirSync, statSync, symlinkSync } from 'node:fs';
import { LarderError } from '@larder/signing/errors';
import type { MachineRoot } from '../activate/machine-root.js';

/** A package, or a directory in one, that a tree of links is to show. */
export interface LinkSource {
  /** Logical. */
  readonly path: string;
  /** The lowest number wins a file that several have. */
  readonly priority: number;
}

/** What each package has for itself, not for its users. */
const OWN = new Set(['nix-support', 'manifest.json', 'manifest.nix', 'propagated-build-inputs', 'log']);

/**
 * Makes a directory of links to all that is in the sources. What one source alone has is one link; directories of
 * several become one directory.
 * @throws `profile-conflict` when a file is in two sources of one priority
 */
export async function makeLinkTree(
  root: MachineRoot,
  sources: readonly LinkSource[],
  target: string,
): Promise<void> {
  mkdirSync(target);
  await mergeInto(root, sources, target);
}

async function mergeInto(root: MachineRoot, sources: readonly LinkSource[], target: string): Promise<void> {
  const names = new Map<string, LinkSource[]>();
  for (const source of sources) {
    for (const name of await list(root, source.path)) {
      const found = names.get(name) ?? [];
      names.set(name, [...found, { ...source, path: `${source.path}/${name}` }]);
    }
  }
  for (const [name, providers] of [...names].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const place = `${target}/${name}`;
    if (providers.length > 1 && (await all(providers, ({ path }) => isDirectory(root, path)))) {
      mkdirSync(place);
      await mergeInto(root, providers, place);
    } else symlinkSync(choose(providers).path, place);
  }
}

function choose(providers: readonly LinkSource[]): LinkSource {
  const [first, second] = providers.toSorted((a, b) => a.priority - b.priority);
  if (second !== undefined && first!.priority === second.priority && first!.path !== second.path) {
    throw new LarderError(
      'profile-conflict',
      `both ${first!.path} and ${second.path} would be the profile's, with priority ${first!.priority}: ` +
        'install one of them with --priority NUMBER (the lower one wins), or remove the other',
    );
  }
  return first!;
}

/** The names in a directory; none in what is no directory. */
async function list(root: MachineRoot, path: string): Promise<string[]> {
  const resolved = await root.tryResolve(path);
  if (resolved === undefined || !statSync(root.physical(resolved)).isDirectory()) return [];
  return readdirSync(root.physical(resolved)).filter((name) => !name.startsWith('.') && !OWN.has(name));
}

async function isDirectory(root: MachineRoot, path: string): Promise<boolean> {
  const resolved = await root.tryResolve(path);
  return resolved !== undefined && statSync(root.physical(resolved)).isDirectory();
}

async function all<Item>(items: readonly Item[], holds: (item: Item) => Promise<boolean>): Promise<boolean> {
  for (const item of items) if (!(await holds(item))) return false;
  return true;
}
