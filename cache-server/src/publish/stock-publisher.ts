import { type NarInfo, parseNarInfo } from '@larder/signing/narinfo';
import { HASH_PART_LENGTH, storePathHashPart } from '@larder/signing/store-path';
import type { Logger } from 'pino';
import type { Cache } from '../caches/cache.js';
import type { Database } from '../database/database.js';
import { queryNarFile } from '../database/tables/nar-files.js';
import {
  deletePendingPath,
  type PendingPathRow,
  queryWaiting,
  upsertPendingPath,
} from '../database/tables/pending-paths.js';
import { ServerError } from '../errors.js';
import type { NarStore } from '../nars/nar-store.js';
import { draftOfNarInfo, type PathDraft } from './draft.js';
import { bareHash } from './narinfo-text.js';
import type { Publisher } from './publisher.js';
import { bringBackWithdrawn } from './withdrawn-references.js';

export interface StockPublisherOptions {
  readonly database: Database;
  readonly nars: NarStore;
  readonly publisher: Publisher;
  readonly logger: Logger;
}

/**
 * Takes narinfos one by one, as stock clients send them. One that comes before its NAR or its references is checked as far
 * as it can be, kept, and published when the last of them has come; until then it is not there for readers.
 */
export class StockPublisher {
  readonly #database: Database;
  readonly #nars: NarStore;
  readonly #publisher: Publisher;
  readonly #logger: Logger;

  constructor(options: StockPublisherOptions) {
    this.#database = options.database;
    this.#nars = options.nars;
    this.#publisher = options.publisher;
    this.#logger = options.logger;
  }

  /**
   * @param hashPart what the request's URL names it
   * @returns how many things the path still waits for; 0 when it is published
   * @throws `narinfo-malformed`, `narinfo-mismatch` and what `Publisher.publish` does
   */
  async receive(cache: Cache, hashPart: string, text: string): Promise<number> {
    const info = parseNarInfo(text, cache.storeDir, `${hashPart}.narinfo`);
    if (storePathHashPart(info.storePath) !== hashPart)
      throw new ServerError('narinfo-mismatch', `${hashPart}.narinfo is about ${info.storePath}`);
    const waiting = await this.#advance(cache, info, text);
    if (waiting === 0) await this.settle(cache, pathNeed(hashPart));
    return waiting;
  }

  /** Publishes what waited for `need`, and what waited for that, and so on. */
  async settle(cache: Cache, need: string): Promise<void> {
    const needs = [need];
    for (let next = needs.pop(); next !== undefined; next = needs.pop())
      for (const row of await queryWaiting(this.#database.read, cache.id, next))
        if (await this.#retry(cache, row)) needs.push(pathNeed(row.hash_part));
  }

  /** Whether the path is published now. One that turned out unsound is dropped: nobody is left to be told. */
  async #retry(cache: Cache, row: PendingPathRow): Promise<boolean> {
    try {
      const info = parseNarInfo(row.narinfo, cache.storeDir, `${row.hash_part}.narinfo`);
      return (await this.#advance(cache, info, row.narinfo)) === 0;
    } catch (error) {
      if (!(error instanceof ServerError) || error.code === 'storage-failed') throw error;
      this.#logger.warn({ cache: cache.name, path: row.hash_part, err: error }, 'dropped a pending path');
      await deletePendingPath(this.#database.write, cache.id, row.hash_part);
      return false;
    }
  }

  async #advance(cache: Cache, info: NarInfo, text: string): Promise<number> {
    const draft = draftOfNarInfo(info);
    const needs = await this.#needs(cache, info, draft);
    if (needs.length === 0) {
      await this.#publisher.publish(cache, [draft]);
      return 0;
    }
    const hashPart = storePathHashPart(draft.storePath);
    const row = { cache_id: cache.id, hash_part: hashPart, narinfo: text, created_at: Date.now() };
    await this.#database.write.transaction().execute((db) => upsertPendingPath(db, row, needs));
    // What it waits for may have come between the look and the note: who brought it could not see the note yet.
    const now = await this.#needs(cache, info, draft);
    if (now.length > 0) return now.length;
    await this.#publisher.publish(cache, [draft]);
    return 0;
  }

  /** What is missing yet: `file:<name>` for its NAR, `path:<hash part>` for references. */
  async #needs(cache: Cache, info: NarInfo, draft: PathDraft): Promise<string[]> {
    const needs: string[] = [];
    if (await this.#hasNar(cache, info)) await this.#publisher.checkContents(cache, draft);
    else needs.push(fileNeed(fileNameOf(info)));
    const drafts = new Map([[storePathHashPart(draft.storePath), draft]]);
    const all = [...(await bringBackWithdrawn(this.#database, cache, drafts)).values()];
    for (const { references } of await this.#publisher.findMissing(cache, all))
      needs.push(...references.map((path) => pathNeed(path.slice(0, HASH_PART_LENGTH))));
    return needs;
  }

  /** @throws `nar-hash-mismatch` when what was uploaded under the narinfo's URL is another NAR */
  async #hasNar(cache: Cache, info: NarInfo): Promise<boolean> {
    const fileName = fileNameOf(info);
    const uploaded = await queryNarFile(this.#database.read, cache.id, fileName);
    const declared = bareHash(info.narHash);
    if (uploaded !== undefined && uploaded !== declared)
      throw new ServerError(
        'nar-hash-mismatch',
        `${info.storePath} declares the NarHash sha256:${declared}, but nar/${fileName} has sha256:${uploaded}`,
        { fields: { path: info.storePath, expected: `sha256:${declared}`, actual: `sha256:${uploaded}` } },
      );
    return (await this.#nars.findForUpload(cache, declared)) !== undefined;
  }
}

export function pathNeed(hashPart: string): string {
  return `path:${hashPart}`;
}

export function fileNeed(fileName: string): string {
  return `file:${fileName}`;
}

/** The file a narinfo names, which must be one that can be uploaded here. */
function fileNameOf(info: NarInfo): string {
  const name = /^nar\/([^/?#]+)$/.exec(info.url)?.[1];
  if (name !== undefined && isNarFileName(name)) return name;
  throw new ServerError(
    'narinfo-mismatch',
    `${info.storePath}: its URL '${info.url}' is not of the form nar/<file hash>.nar.<compression>; upload the NAR here`,
  );
}

/** Whether stock clients may call a NAR so. */
export function isNarFileName(name: string): boolean {
  return name.length <= 160 && /^[A-Za-z0-9_+=-][A-Za-z0-9._+=-]*\.nar(\.[a-z0-9]{1,8})?$/.test(name);
}
