import { formatContentAddress } from '@larder/signing/content-address';
import { type StorePath, storePathHashPart, storePathName } from '@larder/signing/store-path';
import type { Transaction } from 'kysely';
import type { Cache } from '../caches/cache.js';
import type { Database } from '../database/database.js';
import type { Schema } from '../database/schema.js';
import { addUsage } from '../database/tables/cache-usage.js';
import { insertNameParts } from '../database/tables/name-parts.js';
import { deleteNarFacts } from '../database/tables/nar-facts.js';
import { claimNars } from '../database/tables/nars.js';
import { insertReferences } from '../database/tables/path-references.js';
import { insertPath, lockPaths, updateNarInfoText } from '../database/tables/paths.js';
import { deletePendingPath } from '../database/tables/pending-paths.js';
import { deleteWithdrawnPaths } from '../database/tables/withdrawn-paths.js';
import { transact } from '../database/transaction.js';
import { ServerError } from '../errors.js';
import type { Lease } from '../leases/leases.js';
import type { ReadyPath } from './publisher.js';
import { missingReferences, otherReferences, refuseMissing } from './references.js';

/** A published path that gets another narinfo. */
export interface ChangedPath {
  readonly hashPart: string;
  readonly narinfo: string;
}

export interface Publication {
  /** References first. */
  readonly ready: readonly ReadyPath[];
  readonly changed: readonly ChangedPath[];
  /** What they refer to that an upstream has. */
  readonly elsewhere?: ReadonlySet<StorePath>;
  /** On all of them. */
  readonly lease: Lease;
}

/**
 * Makes paths visible through the server: one transaction. What they refer to and their NARs are looked at once more and
 * locked, so that a collection either sees these paths or is seen by them. What was kept of the uploads for this moment goes
 * with it.
 * @throws `references-missing`, `nar-missing`, `lease-lost`: then nothing is
 */
export async function recordPaths(
  database: Database,
  cache: Cache,
  { ready, changed, lease, elsewhere = new Set() }: Publication,
): Promise<void> {
  await insertNameParts(
    database.write,
    cache.id,
    ready.map(({ draft }) => storePathName(draft.storePath)),
  );
  await transact(database, async (db) => {
    await lease.settle(db);
    await requireReferences(db, cache, { ready, elsewhere });
    await requireNars(db, cache, ready);
    for (const path of ready) await recordPath(db, cache, path);
    for (const { hashPart, narinfo } of changed)
      await updateNarInfoText(db, { cacheId: cache.id, hashPart }, narinfo);
    const hashParts = ready.map((path) => path.hashPart);
    await deleteWithdrawnPaths(db, cache.id, { column: 'hash_part', values: hashParts });
    await addUsage(db, cache.id, { paths: ready.length });
  });
}

async function recordPath(
  db: Transaction<Schema>,
  cache: Cache,
  { draft, hashPart, nar, narinfo }: ReadyPath,
): Promise<void> {
  const now = Date.now();
  const isNew = await insertPath(db, {
    cache_id: cache.id,
    hash_part: hashPart,
    name: storePathName(draft.storePath),
    nar_hash: nar.nar_hash,
    nar_size: nar.nar_size,
    deriver: draft.deriver ?? null,
    ca: draft.ca === undefined ? null : formatContentAddress(draft.ca),
    narinfo,
    created_at: now,
    pushed_at: now,
    last_used_at: now,
  });
  // Nobody publishes it without the lease; a lease that was lost for a moment can make it so all the same.
  if (!isNew)
    throw new ServerError('lease-lost', `${draft.storePath} was published by another replica meanwhile`);
  await insertReferences(
    db,
    otherReferences(draft).map((reference) => ({
      cache_id: cache.id,
      hash_part: hashPart,
      reference: storePathHashPart(reference),
    })),
  );
  await deleteNarFacts(db, cache.id, nar.nar_hash);
  await deletePendingPath(db, cache.id, hashPart);
}

async function requireReferences(
  db: Transaction<Schema>,
  cache: Cache,
  { ready, elsewhere }: Required<Pick<Publication, 'ready' | 'elsewhere'>>,
): Promise<void> {
  const batch = new Set(ready.map(({ draft }) => draft.storePath));
  const wanted = ready.flatMap(({ draft }) => otherReferences(draft)).filter((path) => !batch.has(path));
  const names = await lockPaths(db, cache.id, wanted.map(storePathHashPart));
  refuseMissing(
    missingReferences(
      ready.map(({ draft }) => draft),
      names,
      elsewhere,
    ),
  );
}

async function requireNars(
  db: Transaction<Schema>,
  cache: Cache,
  ready: readonly ReadyPath[],
): Promise<void> {
  const present = await claimNars(
    db,
    cache.id,
    ready.map(({ nar }) => nar.nar_hash),
  );
  const missing = ready.find(({ nar }) => !present.has(nar.nar_hash));
  if (missing !== undefined)
    throw new ServerError(
      'nar-missing',
      `the NAR of ${missing.draft.storePath} is no longer there; upload it again`,
      { fields: { nars: [`sha256:${missing.nar.nar_hash}`] } },
    );
}
