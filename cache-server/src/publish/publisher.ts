import { sortByReferences } from '@larder/signing/path-info';
import { storePathHashPart, storePathName } from '@larder/signing/store-path';
import type { CommitStatus } from '@larder/signing/upload';
import type { Cache } from '../caches/cache.js';
import type { Database } from '../database/database.js';
import { type NarRow, queryNars } from '../database/tables/nars.js';
import { type PathRow, queryPaths, updateNarInfoText } from '../database/tables/paths.js';
import { ServerError } from '../errors.js';
import { KeyedLock } from '../keyed-lock.js';
import type { NarStore } from '../nars/nar-store.js';
import type { NarInfoCache } from '../read/narinfo-cache.js';
import { objectKeys } from '../storage/object-key.js';
import type { ObjectStorage } from '../storage/storage.js';
import { checkContents } from './contents.js';
import type { PathDraft } from './draft.js';
import { addSignatures, bareHash, composeNarInfo, isSameContents } from './narinfo-text.js';
import { recordPaths } from './record.js';
import { checkSorted, findMissingReferences, refuseMissing } from './references.js';
import { writeInOrder } from './write-in-order.js';

export interface PublisherOptions {
  readonly database: Database;
  readonly storage: ObjectStorage;
  readonly nars: NarStore;
  readonly narInfos: NarInfoCache;
  /** Whether declared references must occur in the NAR. */
  readonly verifyReferences: boolean;
}

/** A path that passed every check, ready to be shown. */
export interface ReadyPath {
  readonly draft: PathDraft;
  readonly hashPart: string;
  readonly nar: NarRow;
  readonly narinfo: string;
}

/**
 * Makes paths visible, all of a batch or none.
 *
 * Crash invariants, in the order of steps: (1) NARs are in the storage and in the database before they can be named here.
 * (2) Listings and narinfos are written to the bucket, references first, so at every moment each narinfo in the bucket names
 * a NAR and references that are there too. (3) One transaction makes them visible through the server. (4) Only then is the
 * client told. A crash between 2 and 3 leaves narinfos in the bucket that the database does not know: valid ones, which
 * the client's next attempt writes again or a reindex takes up.
 */
export class Publisher {
  readonly #database: Database;
  readonly #storage: ObjectStorage;
  readonly #nars: NarStore;
  readonly #narInfos: NarInfoCache;
  readonly #verifyReferences: boolean;
  readonly #locks = new KeyedLock();

  constructor(options: PublisherOptions) {
    this.#database = options.database;
    this.#storage = options.storage;
    this.#nars = options.nars;
    this.#narInfos = options.narInfos;
    this.#verifyReferences = options.verifyReferences;
  }

  /**
   * Publishes `drafts`; gives what became of each, in their order.
   * @throws `nar-missing`, `nar-size-mismatch`, `references-missing`, `references-forged`, `references-cyclic`,
   * `content-address-mismatch`: then nothing was published
   */
  async publish(cache: Cache, drafts: readonly PathDraft[]): Promise<CommitStatus[]> {
    const byHashPart = new Map(drafts.map((draft) => [storePathHashPart(draft.storePath), draft]));
    const locks = [...byHashPart.keys()].map((hashPart) => `${cache.id}/${hashPart}`);
    return this.#locks.run(locks, async () => {
      const known = await queryPaths(this.#database.read, cache.id, [...byHashPart.keys()]);
      checkNames(known, byHashPart);
      const fresh = [...byHashPart].filter(([hashPart]) => !known.has(hashPart)).map(([, draft]) => draft);
      const ready = await this.prepare(cache, fresh);
      await this.#writeToBucket(cache, ready);
      const added = await recordPaths(this.#database, cache, ready);
      for (const { hashPart } of ready) this.#narInfos.invalidate(cache.id, hashPart);
      const lost = ready.filter(({ hashPart }) => !added.has(hashPart)).map(({ hashPart }) => hashPart);
      const present = lost.length === 0 ? known : await this.#requery(cache, [...known.keys(), ...lost]);
      const merged = new Map<string, CommitStatus>();
      for (const [hashPart, row] of present) {
        const draft = byHashPart.get(hashPart);
        if (draft !== undefined) merged.set(hashPart, await this.#merge(cache, row, draft));
      }
      return drafts.map((draft) => merged.get(storePathHashPart(draft.storePath)) ?? 'added');
    });
  }

  /** Runs every check on paths that are not published yet, and signs them; gives them references first. */
  async prepare(cache: Cache, drafts: readonly PathDraft[]): Promise<ReadyPath[]> {
    const nars = await this.#requireNars(cache, drafts);
    refuseMissing(await findMissingReferences(this.#database, cache, drafts));
    const sorted = sortByReferences(drafts);
    checkSorted(sorted);
    return Promise.all(
      sorted.map(async (draft) => {
        const nar = nars.get(bareHash(draft.narHash)) as NarRow;
        await this.checkContents(cache, draft);
        const hashPart = storePathHashPart(draft.storePath);
        return { draft, hashPart, nar, narinfo: composeNarInfo(cache, draft, nar) };
      }),
    );
  }

  /** Checks a path against its NAR, which must be stored. */
  async checkContents(cache: Cache, draft: PathDraft): Promise<void> {
    const facts = this.#nars.facts(cache, bareHash(draft.narHash));
    await checkContents(cache, draft, { facts, verifyReferences: this.#verifyReferences });
  }

  async #requireNars(cache: Cache, drafts: readonly PathDraft[]): Promise<Map<string, NarRow>> {
    const hashes = [...new Set(drafts.map((draft) => bareHash(draft.narHash)))];
    const nars = await queryNars(this.#database.read, cache.id, hashes);
    const missing = hashes.filter((hash) => !nars.has(hash));
    if (missing.length > 0)
      throw new ServerError(
        'nar-missing',
        `${missing.length} of the NARs were not uploaded, such as sha256:${missing[0]}; upload each NAR before the commit`,
        { fields: { nars: missing.map((hash) => `sha256:${hash}`) } },
      );
    for (const draft of drafts) checkSize(draft, nars.get(bareHash(draft.narHash)) as NarRow);
    return nars;
  }

  async #writeToBucket(cache: Cache, ready: readonly ReadyPath[]): Promise<void> {
    await writeInOrder(ready, async ({ hashPart, narinfo, nar }) => {
      const listing = await this.#nars.facts(cache, nar.nar_hash).listing();
      if (listing !== undefined)
        await this.#storage.put(objectKeys.listing(cache.name, hashPart), Buffer.from(listing), {
          contentType: 'application/json',
        });
      await this.#putNarInfo(cache, hashPart, narinfo);
    });
  }

  /** A path that is there keeps what it names; signatures for the same contents are added. */
  async #merge(cache: Cache, row: PathRow, draft: PathDraft): Promise<CommitStatus> {
    if (!isSameContents(cache, row.narinfo, draft)) return 'kept';
    const text = addSignatures(cache, row.narinfo, draft);
    if (text === undefined) return 'present';
    await this.#putNarInfo(cache, row.hash_part, text);
    await updateNarInfoText(this.#database.write, { cacheId: cache.id, hashPart: row.hash_part }, text);
    this.#narInfos.invalidate(cache.id, row.hash_part);
    return 'present';
  }

  async #putNarInfo(cache: Cache, hashPart: string, text: string): Promise<void> {
    await this.#storage.put(objectKeys.narInfo(cache.name, hashPart), Buffer.from(text), {
      contentType: 'text/x-nix-narinfo',
    });
  }

  /** Another replica published some of these meanwhile: its rows are the ones that count. */
  async #requery(cache: Cache, hashParts: readonly string[]): Promise<Map<string, PathRow>> {
    return queryPaths(this.#database.read, cache.id, hashParts);
  }
}

function checkSize(draft: PathDraft, nar: NarRow): void {
  if (draft.narSize === nar.nar_size) return;
  throw new ServerError(
    'nar-size-mismatch',
    `${draft.storePath} declares a NAR of ${draft.narSize} bytes, but it has ${nar.nar_size}`,
    { fields: { path: draft.storePath } },
  );
}

/** Two names with one hash part cannot both be store paths. */
function checkNames(known: ReadonlyMap<string, PathRow>, drafts: ReadonlyMap<string, PathDraft>): void {
  for (const [hashPart, row] of known) {
    const draft = drafts.get(hashPart);
    if (draft === undefined || storePathName(draft.storePath) === row.name) continue;
    throw new ServerError(
      'narinfo-mismatch',
      `the cache has ${hashPart}-${row.name}; ${draft.storePath} cannot have the same hash part`,
      { fields: { path: draft.storePath } },
    );
  }
}
