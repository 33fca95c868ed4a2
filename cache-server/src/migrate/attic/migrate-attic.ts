import { SecretKey } from '@larder/signing/key';
import { StoreDir } from '@larder/signing/store-path';
import type { Cache } from '../../caches/cache.js';
import { checkCacheName } from '../../caches/cache.js';
import type { Retention, Upstream } from '../../caches/cache-options.js';
import { ServerError } from '../../errors.js';
import type { Intake } from '../../intake.js';
import type { Foundation } from '../../start.js';
import { type MigrateOptions, migrateCache, surveyMigration } from '../migrate-cache.js';
import type { Migration } from '../migration.js';
import type { RefusedPath } from '../migration-source.js';
import { isPathsOwn } from '../refusal.js';
import { type CacheElsewhere, checkSame, takeOverCache } from '../take-over-cache.js';
import type { AtticCache, AtticDatabase } from './attic-database.js';
import { AtticSource } from './attic-source.js';
import type { ChunkFiles } from './remote-file.js';

export interface AtticMigrationOptions extends Pick<MigrateOptions, 'jobs'> {
  /** Which caches, by attic's names, and what they are called here; all, by their own names, when it is empty. */
  readonly names: ReadonlyMap<string, string>;
  /** Milliseconds: attic's `default-retention-period`, for caches that have none of their own. */
  readonly defaultRetention?: number;
  /** What attic left to others: each goes to the caches that name one of its keys. */
  readonly upstreams: readonly Upstream[];
  readonly merge?: boolean;
  readonly dryRun?: boolean;
  /** Hears of every path that is left out, as it is met. */
  readonly onRefused?: (cache: string, refused: RefusedPath) => void;
  readonly onProgress?: (cache: string, migration: Migration) => void;
}

/** What became of a cache. */
export interface AtticMigration {
  /** What attic calls it. */
  readonly from: string;
  /** What it is called here. */
  readonly cache: string;
  readonly public: boolean;
  readonly priority: number;
  readonly publicKey: string;
  readonly retention?: Retention;
  readonly migration?: Migration;
  /** Why nothing of it could be moved. */
  readonly why?: string;
  /** Names of upstream keys that attic has for it and nobody gave a URL for. */
  readonly unknownUpstreams: readonly string[];
}

/**
 * Takes over the caches of an attic server: their settings, their keys and their paths. One that cannot be is left out, with the
 * reason.
 * @throws `not-found` when attic has no cache of a name; what `migrateCache` throws
 */
export async function migrateAttic(
  { foundation, intake }: { readonly foundation: Foundation; readonly intake: Intake },
  { database, files }: { readonly database: AtticDatabase; readonly files: ChunkFiles },
  options: AtticMigrationOptions,
): Promise<AtticMigration[]> {
  const done: AtticMigration[] = [];
  for (const from of choose(await database.caches(), options.names)) {
    const name = options.names.get(from.name) ?? from.name;
    const source = new AtticSource(database, { cache: from, files });
    let result: Omit<AtticMigration, 'migration' | 'why'> | undefined;
    try {
      const wanted = elsewhere(from, name, options);
      result = describe(from, wanted);
      if (options.dryRun === true) {
        const cache = await findTarget(foundation, wanted, options);
        done.push({ ...result, migration: await surveyMigration(source, { foundation, cache }) });
        continue;
      }
      const cache = await takeOverCache(foundation.caches, wanted, options);
      const onRefused = (refused: RefusedPath): void => options.onRefused?.(name, refused);
      const onProgress = (migration: Migration): void => options.onProgress?.(name, migration);
      const migration = await migrateCache({ foundation, intake }, cache, {
        ...options,
        source,
        onRefused,
        onProgress,
      });
      done.push({ ...result, public: cache.public, priority: cache.priority, migration });
    } catch (error) {
      if (!isPathsOwn(error)) throw error;
      done.push({ ...(result ?? failed(from, name)), why: error.message });
    }
  }
  return done;
}

function choose(caches: readonly AtticCache[], names: ReadonlyMap<string, string>): readonly AtticCache[] {
  if (names.size === 0) return caches;
  const chosen = caches.filter(({ name }) => names.has(name));
  const known = new Set(chosen.map(({ name }) => name));
  const missing = [...names.keys()].find((name) => !known.has(name));
  if (missing === undefined) return chosen;
  const list = caches.map(({ name }) => name).join(', ');
  throw new ServerError('not-found', `attic has no cache '${missing}'; it has ${list || 'none'}`);
}

/** @throws `cache-name-malformed`, `key-malformed` */
function elsewhere(from: AtticCache, name: string, options: AtticMigrationOptions): CacheElsewhere {
  const retention = retentionOf(from, options.defaultRetention);
  const upstreams = options.upstreams.filter(({ publicKeys }) =>
    publicKeys.some((key) => from.upstreamKeyNames.includes(nameOf(key))),
  );
  return {
    name: checkCacheName(name),
    public: from.public,
    priority: from.priority,
    storeDir: new StoreDir(from.storeDir),
    keys: [SecretKey.parse(from.keypair)],
    options: {
      ...(retention === undefined ? {} : { retention }),
      ...(upstreams.length === 0 ? {} : { upstreams }),
    },
  };
}

/** Attic lets go of what was neither pushed nor fetched for so long; zero is for ever. */
function retentionOf({ retention }: AtticCache, byDefault = 0): Retention | undefined {
  const unused = retention === undefined ? byDefault : retention * 1000;
  return unused > 0 ? { unused } : undefined;
}

function describe(from: AtticCache, wanted: CacheElsewhere): Omit<AtticMigration, 'migration' | 'why'> {
  const { retention, upstreams = [] } = wanted.options;
  const known = new Set(upstreams.flatMap(({ publicKeys }) => publicKeys.map(nameOf)));
  return {
    from: from.name,
    cache: wanted.name,
    public: wanted.public,
    priority: wanted.priority ?? from.priority,
    publicKey: wanted.keys[0]?.publicKey().format() ?? '',
    ...(retention === undefined ? {} : { retention }),
    unknownUpstreams: from.upstreamKeyNames.filter((name) => !known.has(name)),
  };
}

function failed({ name: from, public: isPublic, priority }: AtticCache, cache: string): AtticMigration {
  return { from, cache, public: isPublic, priority, publicKey: '', unknownUpstreams: [] };
}

/** What the paths would go to: nothing, for a cache that is yet to be made. */
async function findTarget(
  { caches }: Foundation,
  wanted: CacheElsewhere,
  { merge = false }: AtticMigrationOptions,
): Promise<Cache | undefined> {
  const known = await caches.find(wanted.name);
  if (known !== undefined) checkSame(known, wanted, merge);
  return known;
}

function nameOf(publicKey: string): string {
  return publicKey.split(':')[0] ?? '';
}
