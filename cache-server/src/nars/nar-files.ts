import { type NarListing, parseNarListing } from '@larder/signing/nar-listing';
import type { Cache } from '../caches/cache.js';
import type { NarRow } from '../database/tables/nars.js';
import type { ObjectStorage } from '../storage/storage.js';
import { readNarRange } from './nar-ranges.js';
import type { NarReader } from './nar-reader.js';
import type { NarStore } from './nar-store.js';

/** Trees that are kept: whoever browses one asks for it again at once. */
const KEPT_LISTINGS = 8;

/** A symlink on the way, with what of the path was left behind it. */
export interface FoundSymlink {
  readonly type: 'symlink';
  /** The directories that lead to it. */
  readonly parents: readonly string[];
  readonly target: string;
  readonly rest: readonly string[];
}

export type FoundEntry = Exclude<NarListing, { readonly type: 'symlink' }> | FoundSymlink;

export interface NarFilesOptions {
  readonly nars: NarStore;
  readonly storage: ObjectStorage;
  readonly narReader: NarReader;
}

/** Files inside of stored NARs, read without the rest: through the listing and the seek table. */
export class NarFiles {
  readonly #nars: NarStore;
  readonly #source: { readonly storage: ObjectStorage; readonly reader: NarReader };
  readonly #listings = new Map<string, Promise<NarListing | undefined>>();

  constructor({ nars, storage, narReader: reader }: NarFilesOptions) {
    this.#nars = nars;
    this.#source = { storage, reader };
  }

  /** What is at a path, up to the first symlink on the way; `undefined` when there is nothing. */
  async find(cache: Cache, narHash: string, path: readonly string[]): Promise<FoundEntry | undefined> {
    let node = await this.#listing(cache, narHash);
    for (const [index, name] of path.entries()) {
      if (node?.type === 'symlink') break;
      if (node?.type !== 'directory') return undefined;
      const next: NarListing | undefined = Object.hasOwn(node.entries, name) ? node.entries[name] : undefined;
      if (next?.type === 'symlink')
        return { ...next, parents: path.slice(0, index), rest: path.slice(index + 1) };
      node = next;
    }
    if (node?.type === 'symlink') return { ...node, parents: [], rest: path };
    return node;
  }

  /** Bytes of the NAR itself; only the frames that hold them are read. */
  read(
    cache: Cache,
    nar: NarRow,
    range: { readonly offset: number; readonly length: number },
  ): AsyncIterable<Uint8Array> {
    return readNarRange(this.#source, { cache: cache.name, nar }, range);
  }

  #listing(cache: Cache, narHash: string): Promise<NarListing | undefined> {
    const key = `${cache.id}/${narHash}`;
    const kept = this.#listings.get(key);
    if (kept !== undefined) return kept;
    const listing = this.#nars
      .facts(cache, narHash)
      .listing()
      .then((text) => (text === undefined ? undefined : parseNarListing(text)));
    listing.catch(() => this.#listings.delete(key));
    this.#listings.set(key, listing);
    for (const oldest of this.#listings.keys()) {
      if (this.#listings.size <= KEPT_LISTINGS) break;
      this.#listings.delete(oldest);
    }
    return listing;
  }
}
