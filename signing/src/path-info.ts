import { type ContentAddress, makeContentAddressedPath } from './content-address.js';
import type { Hash } from './hash.js';
import { type StoreDir, type StorePath, storePathName } from './store-path.js';

/** The part of a path's metadata that its signatures cover. */
export interface SignedPathInfo {
  readonly storePath: StorePath;
  /** SHA-256 of the NAR. */
  readonly narHash: Hash;
  /** Bytes of the NAR, unpacked. */
  readonly narSize: number;
  /** Sorted, the path itself among them when it refers to itself. */
  readonly references: readonly StorePath[];
}

/** What a store or a cache knows of a path, wherever its bytes are. */
export interface PathInfo extends SignedPathInfo {
  readonly deriver?: StorePath;
  /** Each `keyname:base64`. */
  readonly signatures: readonly string[];
  readonly ca?: ContentAddress;
}

/** A path that is valid in a store. */
export interface ValidPathInfo extends PathInfo {
  /** Seconds since the epoch. */
  readonly registrationTime?: number;
  /** Built or added here, hence trusted without a signature. */
  readonly ultimate?: boolean;
}

/** Whether the path's own name proves its contents: its content address gives this very path. */
export function isContentAddressed(info: PathInfo, storeDir: StoreDir): boolean {
  if (info.ca === undefined) return false;
  const self = info.references.includes(info.storePath);
  const references = info.references.filter((path) => path !== info.storePath);
  const carries =
    info.ca.method === 'text' || (info.ca.method === 'recursive' && info.ca.hash.algorithm === 'sha256');
  if (!carries && info.references.length > 0) return false;
  if (info.ca.method === 'text' && self) return false;
  const content = { ...info.ca, references, self };
  return makeContentAddressedPath(storeDir, storePathName(info.storePath), content) === info.storePath;
}

/** References first: every path comes after all the paths it refers to. Cycles (never valid) are left in name order. */
export function sortByReferences<Info extends SignedPathInfo>(infos: Iterable<Info>): Info[] {
  const byPath = new Map<StorePath, Info>();
  for (const info of infos) byPath.set(info.storePath, info);
  const sorted: Info[] = [];
  const seen = new Set<StorePath>();
  for (const root of [...byPath.keys()].sort()) visitIteratively(root, { byPath, seen, sorted });
  return sorted;
}

interface SortState<Info> {
  readonly byPath: ReadonlyMap<StorePath, Info>;
  readonly seen: Set<StorePath>;
  readonly sorted: Info[];
}

/** A closure can be tens of thousands deep, so the walk keeps its own stack. */
function visitIteratively<Info extends SignedPathInfo>(root: StorePath, state: SortState<Info>): void {
  const stack: { readonly path: StorePath; next: number }[] = [];
  const enter = (path: StorePath): void => {
    if (state.seen.has(path) || !state.byPath.has(path)) return;
    state.seen.add(path);
    stack.push({ path, next: 0 });
  };
  enter(root);
  for (let frame = stack.at(-1); frame !== undefined; frame = stack.at(-1)) {
    const info = state.byPath.get(frame.path)!;
    const reference = info.references[frame.next++];
    if (reference !== undefined) enter(reference);
    else {
      state.sorted.push(info);
      stack.pop();
    }
  }
}
