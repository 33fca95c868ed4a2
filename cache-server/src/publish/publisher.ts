import { sortByReferences } from '@larder/signing/path-info';
import { type StorePath, storePathHashPart, storePathName } from '@larder/signing/store-path';
import type { CommitStatus, MissingReferences } from '@larder/signing/upload';
import type { Cache } from '../caches/cache.js';
import { settleObject } from '../collect/lapsed.js';
import { leaseOf } from '../collect/withdraw.js';
import type { Database } from '../database/database.js';
import { type NarRow, queryNars } from '../database/tables/nars.js';
import { type PathRow, queryPaths, touchPaths } from '../database/tables/paths.js';
import { ServerError } from '../errors.js';
import { KeyedLock } from '../keyed-lock.js';
import type { Lease, Leases } from '../leases/leases.js';
import type { NarStore } from '../nars/nar-store.js';
import type { NarInfoCache } from '../read/narinfo-cache.js';
import { objectKeys } from '../storage/object-key.js';
import type { ObjectStorage } from '../storage/storage.js';
import { checkContents } from './contents.js';
import type { PathDraft } from './draft.js';
import { addSignatures, bareHash, composeNarInfo, isSameContents } from './narinfo-text.js';
import { type ChangedPath, recordPaths } from './record.js';
import { checkSorted, findMissingReferences, refuseMissing } from './references.js';
import { bringBackWithdrawn } from './withdrawn-references.js';
import { writeInOrder } from './write-in-order.js';

export interface PublisherOptions {
  readonly database: Database;
  readonly storage: ObjectStorage;
  readonly nars: NarStore;
  readonly narInfos: NarInfoCache;
  readonly leases: Leases;
  /** Whether declared references must occur in the NAR. */
  readonly verifyReferences: boolean;
  /** Whether an upstream of the cache has a path: then others may refer to it. */
  readonly hasUpstream?: (cache: Cache, path: StorePath) => Promise<boolean>;
  /** How long, in milliseconds, collections leave alone what was pushed: whoever pushes again must find that begun anew. */
  readonly grace: number;
}

/** How often a publication that others overtook is tried in all. */
const MAX_ATTEMPTS = 5;
/** How precise the time of the last push is at most, in milliseconds. */
const PUSH_RESOLUTION = 3_600_000;

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
 * client told. Leases on the paths are held from before 2 and end with 3: no other replica writes or deletes the same narinfos
 * meanwhile, and after a crash in between whoever finds the lapsed leases deletes what the database does not know.
 */
export class Publisher {
  readonly #database: Database;
  readonly #storage: ObjectStorage;
  readonly #nars: NarStore;
  readonly #narInfos: NarInfoCache;
  readonly #leases: Leases;
  readonly #verifyReferences: boolean;
  readonly #hasUpstream: PublisherOptions['hasUpstream'];
  readonly #pushResolution: number;
  readonly #locks = new KeyedLock();

  constructor(options: PublisherOptions) {
    this.#database = options.database;
    this.#storage = options.storage;
    this.#nars = options.nars;
    this.#narInfos = options.narInfos;
    this.#leases = options.leases;
    this.#verifyReferences = options.verifyReferences;
    this.#hasUpstream = options.hasUpstream;
    this.#pushResolution = Math.min(PUSH_RESOLUTION, options.grace / 2);
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
      for (let attempt = 1; ; attempt++) {
        const statuses = await this.#tryPublish(cache, byHashPart, attempt);
        if (statuses === undefined) continue;
        return drafts.map((draft) => statuses.get(storePathHashPart(draft.storePath)) ?? 'added');
      }
    });
  }

  /** @returns `undefined` when another replica, or a collection, was quicker: it is to be tried again */
  async #tryPublish(
    cache: Cache,
    drafts: ReadonlyMap<string, PathDraft>,
    attempt: number,
  ): Promise<ReadonlyMap<string, CommitStatus> | undefined> {
    const all = await bringBackWithdrawn(this.#database, cache, drafts);
    const known = await queryPaths(this.#database.read, cache.id, [...all.keys()]);
    checkNames(known, all);
    if (!(await this.#touch(cache, known))) return undefined;
    const fresh = [...all].filter(([hashPart]) => !known.has(hashPart)).map(([, draft]) => draft);
    const elsewhere = await this.#findElsewhere(cache, fresh);
    const ready = await this.prepare(cache, fresh, elsewhere);
    const { statuses, changed } = mergeAll(cache, known, all);
    if (ready.length + changed.length > 0) {
      const objects = [...ready, ...changed].map(({ hashPart }) => leaseOf(hashPart));
      await using lease = await this.#leases.take(cache.id, objects);
      if (!(await this.#isAsItWas(cache, known, { ready, changed }))) {
        await lease.release();
        return undefined;
      }
      try {
        await this.#writeToBucket(cache, { ready, changed });
        await recordPaths(this.#database, cache, { ready, changed, lease, elsewhere });
        lease.settled();
      } catch (error) {
        await this.#undo(cache, lease);
        if (attempt < MAX_ATTEMPTS && isOvertaken(error)) return undefined;
        throw error;
      } finally {
        for (const { hashPart } of [...ready, ...changed]) this.#narInfos.invalidate(cache.id, hashPart);
      }
    }
    return statuses;
  }

  /** Whether nobody published or withdrew any of these before the leases were taken. */
  async #isAsItWas(
    cache: Cache,
    known: ReadonlyMap<string, PathRow>,
    { ready, changed }: { readonly ready: readonly ReadyPath[]; readonly changed: readonly ChangedPath[] },
  ): Promise<boolean> {
    const hashParts = [...ready, ...changed].map(({ hashPart }) => hashPart);
    const now = await queryPaths(this.#database.write, cache.id, hashParts);
    return hashParts.every((hashPart) => now.get(hashPart)?.narinfo === known.get(hashPart)?.narinfo);
  }

  /** Makes the bucket what the database says, as far as that goes now; else the lapsed leases see to it. */
  async #undo(cache: Cache, lease: Lease): Promise<void> {
    try {
      for (const object of lease.objects)
        await settleObject({ database: this.#database, storage: this.#storage }, cache, object);
      await lease.release();
    } catch {
      // The error that led here is the one to tell.
    }
  }

  /**
   * A path that is pushed again counts as new. @returns false when a collection was quicker: then the client must not be told
   * that the path is there
   */
  async #touch(cache: Cache, known: ReadonlyMap<string, PathRow>): Promise<boolean> {
    const now = Date.now();
    const stale = [...known.values()].filter((row) => row.pushed_at < now - this.#pushResolution);
    if (stale.length === 0) return true;
    const hashParts = stale.map((row) => row.hash_part).sort();
    const touched = await touchPaths(this.#database, cache.id, { hashParts, now, before: now, pushed: true });
    return touched === stale.length;
  }

  /** Runs every check on paths that are not published yet, and signs them; gives them references first. */
  async prepare(
    cache: Cache,
    drafts: readonly PathDraft[],
    elsewhere: ReadonlySet<StorePath> = new Set(),
  ): Promise<ReadyPath[]> {
    const nars = await this.#requireNars(cache, drafts);
    refuseMissing(withoutThose(await findMissingReferences(this.#database, cache, drafts), elsewhere));
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

  /** Those references that the cache does not have and no upstream has either. */
  async findMissing(cache: Cache, drafts: readonly PathDraft[]): Promise<MissingReferences[]> {
    const missing = await findMissingReferences(this.#database, cache, drafts);
    return withoutThose(missing, await this.#among(cache, missing));
  }

  /**
   * Gives published paths other narinfos.
   * @param change what a path's narinfo is to be; `undefined` to leave it
   * @returns how many were changed
   */
  async rewrite(
    cache: Cache,
    hashParts: readonly string[],
    change: (narinfo: string) => string | undefined,
  ): Promise<number> {
    const rows = await queryPaths(this.#database.read, cache.id, hashParts);
    const wanted = [...rows.values()].filter((row) => change(row.narinfo) !== undefined);
    if (wanted.length === 0) return 0;
    await using lease = await this.#leases.take(
      cache.id,
      wanted.map((row) => leaseOf(row.hash_part)),
    );
    const now = await queryPaths(
      this.#database.write,
      cache.id,
      wanted.map((row) => row.hash_part),
    );
    const changed = [...now].flatMap(([hashPart, row]) => {
      const narinfo = change(row.narinfo);
      return narinfo === undefined ? [] : [{ hashPart, narinfo }];
    });
    await this.#writeToBucket(cache, { ready: [], changed });
    await recordPaths(this.#database, cache, { ready: [], changed, lease });
    lease.settled();
    for (const { hashPart } of changed) this.#narInfos.invalidate(cache.id, hashPart);
    return changed.length;
  }

  async #findElsewhere(cache: Cache, drafts: readonly PathDraft[]): Promise<ReadonlySet<StorePath>> {
    if (this.#hasUpstream === undefined || (cache.options.upstreams ?? []).length === 0) return new Set();
    return this.#among(cache, await findMissingReferences(this.#database, cache, drafts));
  }

  /** Those of missing references that an upstream has. */
  async #among(cache: Cache, missing: readonly MissingReferences[]): Promise<ReadonlySet<StorePath>> {
    const hasUpstream = this.#hasUpstream;
    if (hasUpstream === undefined || (cache.options.upstreams ?? []).length === 0) return new Set();
    const wanted = [...new Set(missing.flatMap(({ references }) => references))] as StorePath[];
    const found = await Promise.all(
      wanted.map(async (path) => ((await hasUpstream(cache, path)) ? [path] : [])),
    );
    return new Set(found.flat());
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

  async #writeToBucket(
    cache: Cache,
    { ready, changed }: { readonly ready: readonly ReadyPath[]; readonly changed: readonly ChangedPath[] },
  ): Promise<void> {
    await writeInOrder(ready, async ({ hashPart, narinfo, nar }) => {
      const listing = await this.#nars.facts(cache, nar.nar_hash).listing();
      if (listing !== undefined)
        await this.#storage.put(objectKeys.listing(cache.name, hashPart), Buffer.from(listing), {
          contentType: 'application/json',
        });
      await this.#putNarInfo(cache, hashPart, narinfo);
    });
    for (const { hashPart, narinfo } of changed) await this.#putNarInfo(cache, hashPart, narinfo);
  }

  async #putNarInfo(cache: Cache, hashPart: string, text: string): Promise<void> {
    await this.#storage.put(objectKeys.narInfo(cache.name, hashPart), Buffer.from(text), {
      contentType: 'text/x-nix-narinfo',
    });
  }
}

/** A path that is there keeps what it names; signatures for the same contents are added. */
function mergeAll(
  cache: Cache,
  known: ReadonlyMap<string, PathRow>,
  drafts: ReadonlyMap<string, PathDraft>,
): { readonly statuses: Map<string, CommitStatus>; readonly changed: readonly ChangedPath[] } {
  const statuses = new Map<string, CommitStatus>();
  const changed: ChangedPath[] = [];
  for (const [hashPart, row] of known) {
    const draft = drafts.get(hashPart);
    if (draft === undefined) continue;
    const isSame = isSameContents(cache, row.narinfo, draft);
    statuses.set(hashPart, isSame ? 'present' : 'kept');
    const narinfo = isSame ? addSignatures(cache, row.narinfo, draft) : undefined;
    if (narinfo !== undefined) changed.push({ hashPart, narinfo });
  }
  return { statuses, changed };
}

/** Whether somebody else's change, and no fault of the client's, may be why it failed. */
function isOvertaken(error: unknown): boolean {
  return (
    error instanceof ServerError && ['references-missing', 'nar-missing', 'lease-lost'].includes(error.code)
  );
}

function withoutThose(
  missing: readonly MissingReferences[],
  elsewhere: ReadonlySet<StorePath>,
): MissingReferences[] {
  return missing
    .map(({ path, references }) => ({
      path,
      references: references.filter((each) => !elsewhere.has(each as StorePath)),
    }))
    .filter(({ references }) => references.length > 0);
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
