import type { Hash } from '@larder/signing/hash';
import type { PathInfo, ValidPathInfo } from '@larder/signing/path-info';
import { type StorePath, storePathName } from '@larder/signing/store-path';

/** A path that the store has, to which the delta of another might be short. */
export interface DeltaBase {
  readonly storePath: StorePath;
  readonly narHash: Hash;
  readonly narSize: number;
}

/** What is asked of a store to find bases. */
export interface BaseStore {
  queryAllValidPaths(): Promise<StorePath[]>;
  queryPathInfo(path: StorePath): Promise<ValidPathInfo | undefined>;
  queryClosure(roots: Iterable<StorePath>): Promise<readonly ValidPathInfo[]>;
}

/** Bases named for one path at most: the server takes the best of those it has. */
const mostBases = 4;

/** Versions of one package that are looked at. */
const mostVersions = 64;

/** How much larger or smaller something of another name may be to count as what took its place. */
const likeSize = 4;

/**
 * What a path is a version of: its name without version, but with the output (`openssl-3.0.14-bin` and `openssl-3.1-bin`
 * are one, `openssl-3.0.14` another). A version starts at the first dash before a digit, as `parseDrvName` in Nix has it.
 */
export function packageOf(path: StorePath): string {
  const name = storePathName(path);
  const version = /-(?=\d)/.exec(name);
  if (version === null) return name;
  const output = /-([a-z]+)$/.exec(name.slice(version.index + 1))?.[1];
  return output === undefined ? name.slice(0, version.index) : `${name.slice(0, version.index)}|${output}`;
}

/**
 * For each path of a plan, what the store has that it may be a newer version of, the likeliest first: those of the very same
 * name, then those of the closure that is being updated, then the newest. What has no older version by name takes what
 * stood in its place in the old closure.
 */
export async function findDeltaBases(
  plan: readonly PathInfo[],
  store: BaseStore,
): Promise<Map<StorePath, DeltaBase[]>> {
  const known = (await store.queryAllValidPaths()).filter((path) => !path.endsWith('.drv'));
  const finder = new BaseFinder(store, known);
  await finder.findOldClosure(plan);
  const bases = new Map<StorePath, DeltaBase[]>();
  for (const { storePath } of plan) {
    const found = await finder.byName(storePath);
    if (found.length > 0) bases.set(storePath, found);
  }
  await finder.byPlace(plan, bases);
  return bases;
}

class BaseFinder {
  readonly #store: BaseStore;
  readonly #families: ReadonlyMap<string, readonly StorePath[]>;
  readonly #names: ReadonlyMap<string, readonly StorePath[]>;
  /** Of what the plan's last path, which reaches most of it, is a newer version of. */
  #oldClosure: ReadonlyMap<StorePath, ValidPathInfo> = new Map();

  constructor(store: BaseStore, known: readonly StorePath[]) {
    this.#store = store;
    this.#families = groupBy(known, packageOf);
    this.#names = groupBy(known, storePathName);
  }

  async findOldClosure(plan: readonly PathInfo[]): Promise<void> {
    const root = plan.at(-1);
    const [old] = root === undefined ? [] : await this.byName(root.storePath);
    if (old === undefined) return;
    const closure = await this.#store.queryClosure([old.storePath]);
    this.#oldClosure = new Map(closure.map((info) => [info.storePath, info]));
  }

  async byName(path: StorePath): Promise<DeltaBase[]> {
    const name = storePathName(path);
    // Names such as `unit-1` and `unit-2` are of one family and may be many: the very same name comes first.
    const namesakes = (this.#names.get(name) ?? []).filter((member) => member !== path);
    const replaced = namesakes.flatMap((member) => this.#oldClosure.get(member) ?? []);
    // What took its place in the closure is what it is a version of: naming others would only cost.
    if (replaced.length === 1) return replaced;
    const members = this.#families.get(packageOf(path)) ?? [];
    const looked = members.length <= mostVersions ? members : [...new Set([...namesakes, ...members])];
    const infos: ValidPathInfo[] = [];
    for (const member of looked.slice(0, mostVersions)) {
      const info = member === path ? undefined : await this.#store.queryPathInfo(member);
      if (info !== undefined) infos.push(info);
    }
    const rank = (info: ValidPathInfo): number =>
      (this.#oldClosure.has(info.storePath) ? 1 : 0) + (storePathName(info.storePath) === name ? 2 : 0);
    infos.sort((a, b) => rank(b) - rank(a) || (b.registrationTime ?? 0) - (a.registrationTime ?? 0));
    return infos.slice(0, mostBases);
  }

  /** For renamed packages: what the older version of a referrer refers to, and the new one does not under any version. */
  async byPlace(plan: readonly PathInfo[], bases: Map<StorePath, DeltaBase[]>): Promise<void> {
    const planned = new Map(plan.map((info) => [info.storePath, info]));
    for (const referrer of plan) {
      const unmatched = referrer.references.filter((path) => planned.has(path) && !bases.has(path));
      const old = this.#oldClosure.get(bases.get(referrer.storePath)?.[0]?.storePath ?? ('' as StorePath));
      if (unmatched.length === 0 || old === undefined) continue;
      const still = new Set(referrer.references.map(packageOf));
      const gone = old.references.flatMap((path) => {
        const info = still.has(packageOf(path)) ? undefined : this.#oldClosure.get(path);
        return info === undefined ? [] : [info];
      });
      for (const path of unmatched) {
        const { narSize } = planned.get(path)!;
        const like = gone.filter((info) => isLike(info.narSize, narSize));
        if (like.length > 0) bases.set(path, like.slice(0, mostBases));
      }
    }
  }
}

function isLike(a: number, b: number): boolean {
  return a <= b * likeSize && b <= a * likeSize;
}

function groupBy(paths: readonly StorePath[], keyOf: (path: StorePath) => string): Map<string, StorePath[]> {
  const groups = new Map<string, StorePath[]>();
  for (const path of paths) {
    const key = keyOf(path);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [path]);
    else group.push(path);
  }
  return groups;
}
