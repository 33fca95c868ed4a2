import { storePathHashPart } from '@larder/signing/store-path';
import type { Cache } from '../caches/cache.js';
import { queryPaths } from '../database/tables/paths.js';
import type { Intake } from '../intake.js';
import { Limiter } from '../limiter.js';
import type { Foundation } from '../start.js';
import { type Migration, sumUp } from './migration.js';
import {
  isMovable,
  isRefused,
  type MigratingPath,
  type MigrationSource,
  type RefusedPath,
} from './migration-source.js';
import { moveSideFiles } from './move-side-files.js';
import { NarMover } from './nar-mover.js';
import { PublicationOrder } from './publication-order.js';
import { isPathsOwn } from './refusal.js';

export interface MigrateOptions {
  /** NARs that are moved at once. */
  readonly jobs: number;
  readonly onRefused?: (refused: RefusedPath) => void;
  /** Hears after every batch what was done so far. */
  readonly onProgress?: (migration: Migration) => void;
}

/** Paths that are published together. */
const BATCH = 64;
/** Batches whose NARs are moved while an earlier one is published. */
const AHEAD = 3;

/** Paths whose NARs are here, or need not be, since the paths are. */
interface Prepared {
  readonly paths: readonly (MigratingPath | RefusedPath)[];
  readonly present: ReadonlySet<string>;
}

/**
 * Takes the paths of a cache elsewhere into one here, by the way uploads come: each NAR is unpacked, hashed and compressed anew
 * in a worker thread, and a path is signed and shown when all of it was checked and what it refers to is there. Paths that
 * cannot be moved are left out, with the reason; what depends on them, too. Begun again, it goes on where it was, however it
 * ended.
 * @throws what Larder's own storage and database throw, and `cache-unreachable`: then there is no going on
 */
export async function migrateCache(
  { foundation, intake }: { readonly foundation: Foundation; readonly intake: Intake },
  cache: Cache,
  { source, ...options }: MigrateOptions & { readonly source: MigrationSource },
): Promise<Migration> {
  // Any cache here may have a NAR already.
  const mover = new NarMover(foundation, intake, { cache, others: await foundation.caches.list() });
  return new CacheMigrator(foundation, intake, { cache, source, mover, ...options }).run();
}

/** What a migration would move, by what the source's own index says. Nothing is read but that. */
export async function surveyMigration(
  source: MigrationSource,
  { foundation, cache }: { readonly foundation: Foundation; readonly cache: Cache | undefined },
): Promise<Migration> {
  const order = await readOrder(source);
  const migration = sumUp(order);
  const nars = new Set<string>();
  for (const keys of batches(order.sorted())) {
    const loaded = await source.load(keys);
    const paths = loaded.filter(isMovable);
    migration.refused.push(...loaded.filter(isRefused));
    const known = cache === undefined ? new Set() : await findPresent(foundation, cache, paths);
    migration.present += known.size;
    for (const { draft, findNar } of paths.filter(({ draft }) => !known.has(draft.storePath))) {
      const hash = draft.narHash.toString();
      const nar = nars.has(hash) ? undefined : await findNar();
      if (nar !== undefined && 'why' in nar) {
        migration.refused.push({ path: draft.storePath, why: nar.why });
        continue;
      }
      migration.published++;
      if (nar === undefined) continue;
      nars.add(hash);
      migration.nars++;
      migration.bytes += draft.narSize;
    }
  }
  for await (const file of source.sideFiles?.() ?? []) {
    void file;
    migration.sideFiles++;
  }
  return migration;
}

class CacheMigrator {
  readonly #foundation: Foundation;
  readonly #intake: Intake;
  readonly #cache: Cache;
  readonly #source: MigrationSource;
  readonly #options: Omit<MigrateOptions, 'jobs'>;
  readonly #limiter: Limiter;
  #migration: Migration = sumUp(new PublicationOrder());
  readonly #mover: NarMover;

  constructor(
    foundation: Foundation,
    intake: Intake,
    {
      cache,
      source,
      mover,
      jobs,
      ...options
    }: MigrateOptions & { cache: Cache; source: MigrationSource; mover: NarMover },
  ) {
    this.#foundation = foundation;
    this.#intake = intake;
    this.#cache = cache;
    this.#source = source;
    this.#options = options;
    this.#limiter = new Limiter(jobs);
    this.#mover = mover;
  }

  async run(): Promise<Migration> {
    const order = await readOrder(this.#source);
    this.#migration = sumUp(order);
    const ahead: Promise<Prepared>[] = [];
    const publishNext = async (): Promise<void> => {
      const next = await ahead.shift();
      if (next !== undefined) await this.#publish(next);
    };
    for (const keys of batches(order.sorted())) {
      const prepared = this.#prepare(keys);
      // Its failure is met when its turn comes.
      prepared.catch(() => undefined);
      ahead.push(prepared);
      if (ahead.length > AHEAD) await publishNext();
    }
    while (ahead.length > 0) await publishNext();
    const { moved, refused } = await moveSideFiles(this.#foundation, this.#cache, this.#source);
    this.#migration.sideFiles = moved;
    for (const file of refused) this.#refuse(file);
    return this.#migration;
  }

  async #prepare(keys: readonly unknown[]): Promise<Prepared> {
    const loaded = await this.#source.load(keys);
    const present = await findPresent(this.#foundation, this.#cache, loaded.filter(isMovable));
    const paths = await Promise.all(
      loaded.map(async (path) => {
        if (isRefused(path) || present.has(path.draft.storePath)) return path;
        return this.#limiter.run(async () => (await this.#mover.move(path)) ?? path);
      }),
    );
    return { paths, present };
  }

  async #publish({ paths, present }: Prepared): Promise<void> {
    for (const path of paths) if (isRefused(path)) this.#refuse(path);
    await this.#publishSound(paths.filter(isMovable), present);
    Object.assign(this.#migration, this.#mover.sums);
    this.#options.onProgress?.(this.#migration);
  }

  async #publishSound(batch: readonly MigratingPath[], present: ReadonlySet<string>): Promise<void> {
    const paths = await this.#withoutDangling(batch, present);
    if (paths.length === 0) return;
    try {
      const statuses = await this.#intake.publisher.publish(
        this.#cache,
        paths.map(({ draft }) => draft),
      );
      for (const [index, status] of statuses.entries()) {
        const path = paths[index]?.draft.storePath ?? '';
        if (status === 'added') this.#migration.published++;
        else if (status === 'present') this.#migration.present++;
        else this.#refuse({ path, why: 'the cache has it with other contents or references, which stay' });
      }
    } catch (error) {
      const [first] = paths;
      if (first === undefined || !isPathsOwn(error)) throw error;
      if (paths.length === 1) this.#refuse({ path: first.draft.storePath, why: error.message });
      // One of them is at fault; they are in an order in which each can go by itself.
      else for (const path of paths) await this.#publishSound([path], present);
    }
  }

  /** Those of which all that they refer to is here, or comes with them. */
  async #withoutDangling(
    batch: readonly MigratingPath[],
    present: ReadonlySet<string>,
  ): Promise<readonly MigratingPath[]> {
    let paths = batch;
    for (;;) {
      const drafts = paths.map(({ draft }) => draft);
      const found = await this.#intake.publisher.findMissing(this.#cache, drafts);
      const missing = found.filter(({ path }) => !present.has(path));
      if (missing.length === 0) return paths;
      for (const { path, references } of missing) {
        const more = references.length > 1 ? ` and ${references.length - 1} more` : '';
        this.#migration.dangling++;
        this.#refuse({ path, why: `it refers to ${references[0]}${more}, which the cache does not have` });
      }
      const gone = new Set(missing.map(({ path }) => path));
      paths = paths.filter(({ draft }) => !gone.has(draft.storePath));
    }
  }

  #refuse(refused: RefusedPath): void {
    this.#migration.refused.push(refused);
    this.#options.onRefused?.(refused);
  }
}

async function readOrder(source: MigrationSource): Promise<PublicationOrder<unknown>> {
  const order = new PublicationOrder<unknown>();
  for await (const entry of source.entries()) order.add(entry);
  return order;
}

function* batches<T>(items: Iterable<T>): Generator<T[]> {
  let batch: T[] = [];
  for (const item of items) {
    if (batch.push(item) < BATCH) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}

/** Those of the paths that the cache has, with the same contents or not: their NARs are of no use. */
async function findPresent(
  { database }: Foundation,
  cache: Cache,
  paths: readonly MigratingPath[],
): Promise<ReadonlySet<string>> {
  const hashParts = paths.map(({ draft }) => storePathHashPart(draft.storePath));
  const known = await queryPaths(database.read, cache.id, hashParts);
  return new Set(
    paths.map(({ draft }) => draft.storePath).filter((path) => known.has(storePathHashPart(path))),
  );
}
