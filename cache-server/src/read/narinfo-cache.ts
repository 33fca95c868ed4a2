import { createHash } from 'node:crypto';
import type { Database } from '../database/database.js';
import { queryNarInfoText } from '../database/tables/paths.js';

/** A narinfo as it is sent. */
export interface ServedNarInfo {
  readonly text: string;
  /** Bytes. */
  readonly size: number;
  readonly etag: string;
}

export interface NarInfoCacheOptions {
  readonly database: Database;
  /** Bytes of narinfos to keep. */
  readonly capacity?: number;
  /** Milliseconds an entry counts: other replicas' changes (a signature more, a path withdrawn) show after that. */
  readonly freshness?: number;
}

interface Entry {
  readonly narInfo: ServedNarInfo;
  readonly until: number;
  /** Whether it was asked for since it was last looked at for room. */
  isUsed: boolean;
}

const DEFAULT_CAPACITY = 64 * 2 ** 20;
const DEFAULT_FRESHNESS = 10_000;
/** What an entry costs besides its body, roughly. */
const ENTRY_OVERHEAD = 300;

/**
 * The narinfos last asked for, over the database. Absence is never kept: a path that was just pushed, through whichever
 * replica, is there at once.
 */
export class NarInfoCache {
  readonly #database: Database;
  readonly #capacity: number;
  readonly #freshness: number;
  /** The oldest first. When room is wanted, those in use get a second chance: cheaper than an order of last use. */
  readonly #entries = new Map<string, Entry>();
  #bytes = 0;
  /** Counts invalidations, so that a lookup that began before one does not keep what it found. */
  #version = 0;

  constructor(options: NarInfoCacheOptions) {
    this.#database = options.database;
    this.#capacity = options.capacity ?? DEFAULT_CAPACITY;
    this.#freshness = options.freshness ?? DEFAULT_FRESHNESS;
  }

  /** What is kept and fresh, without waiting. */
  peek(cacheId: number, hashPart: string): ServedNarInfo | undefined {
    const key = `${cacheId}/${hashPart}`;
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    if (entry.until < Date.now()) {
      this.#remove(key, entry);
      return undefined;
    }
    entry.isUsed = true;
    return entry.narInfo;
  }

  /** @param complete makes what is kept of what the database has */
  async find(
    cacheId: number,
    hashPart: string,
    complete: (text: string) => string = (text) => text,
  ): Promise<ServedNarInfo | undefined> {
    const kept = this.peek(cacheId, hashPart);
    if (kept !== undefined) return kept;
    const version = this.#version;
    const stored = await queryNarInfoText(this.#database.read, cacheId, hashPart);
    if (stored === undefined) return undefined;
    const text = complete(stored);
    const etag = `"${createHash('sha1').update(text).digest('base64url')}"`;
    const narInfo = { text, size: Buffer.byteLength(text), etag };
    if (version === this.#version) this.#add(`${cacheId}/${hashPart}`, narInfo);
    return narInfo;
  }

  invalidate(cacheId: number, hashPart: string): void {
    this.#version++;
    const key = `${cacheId}/${hashPart}`;
    const entry = this.#entries.get(key);
    if (entry !== undefined) this.#remove(key, entry);
  }

  #add(key: string, narInfo: ServedNarInfo): void {
    const before = this.#entries.get(key);
    if (before !== undefined) this.#remove(key, before);
    this.#entries.set(key, { narInfo, until: Date.now() + this.#freshness, isUsed: false });
    this.#bytes += narInfo.size + ENTRY_OVERHEAD;
    // What is put back is met again at the end, unused by then.
    for (const [oldest, entry] of this.#entries) {
      if (this.#bytes <= this.#capacity) break;
      if (entry.isUsed) {
        entry.isUsed = false;
        this.#entries.delete(oldest);
        this.#entries.set(oldest, entry);
      } else this.#remove(oldest, entry);
    }
  }

  #remove(key: string, entry: Entry): void {
    this.#entries.delete(key);
    this.#bytes -= entry.narInfo.size + ENTRY_OVERHEAD;
  }
}
