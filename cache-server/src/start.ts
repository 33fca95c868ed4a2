import { mkdir } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join, resolve } from 'node:path';
import type { Logger } from 'pino';
import { AuditLog } from './audit/audit-log.js';
import { Gate } from './auth/access.js';
import { Oidc, type OidcIssuer } from './auth/oidc.js';
import { TokenUse } from './auth/token-use.js';
import { type Bootstrapped, bootstrap } from './bootstrap.js';
import { CacheDirectory } from './caches/cache-directory.js';
import { KeySeal } from './caches/key-seal.js';
import { Collector } from './collect/collector.js';
import { Keeper } from './collect/keeper.js';
import { Withdrawal } from './collect/withdraw.js';
import { type ServerConfig, shareOf } from './config.js';
import { type Database, type DatabaseOptions, openDatabase } from './database/database.js';
import { DeltaMaker } from './deltas/delta-maker.js';
import { DeltaStore } from './deltas/delta-store.js';
import { ServerError } from './errors.js';
import { listenForMetrics } from './http/metrics-listener.js';
import { listen } from './http/server.js';
import type { Services } from './http/services.js';
import { assembleIntake, openNarReader, openUpstreamClient } from './intake.js';
import { Leases, leaseTimes } from './leases/leases.js';
import { limitMemory } from './memory-limits.js';
import type { NarReader } from './nars/nar-reader.js';
import { Metrics } from './observe/metrics.js';
import { observeStorage } from './observe/observed-storage.js';
import { type Observer, observers } from './observe/observer.js';
import { openTraces, type Traces } from './observe/traces.js';
import { Pins } from './pins/pins.js';
import { isSupervised } from './processes/supervised.js';
import { Realisations } from './publish/realisations.js';
import { Resigner } from './publish/resigner.js';
import { SideFiles } from './publish/side-files.js';
import { StockPublisher } from './publish/stock-publisher.js';
import { PathUse } from './read/path-use.js';
import { DiskStorage } from './storage/disk.js';
import { S3Storage } from './storage/s3.js';
import type { ObjectStorage } from './storage/storage.js';
import { Sweeper } from './sweeper.js';
import { ReachableAddresses } from './upstream/reachable.js';
import type { UpstreamClient } from './upstream/upstream-client.js';
import { UsageRecorder } from './usage/usage-recorder.js';
import { Sessions } from './web/sessions.js';

/** A server that runs. */
export interface RunningServer {
  /** `http://host:port`, as bound. */
  readonly url: string;
  readonly bootstrapped: Bootstrapped;
  /** What it is made of, for whoever runs it in a process of their own. */
  readonly services: Services;
  /** Writes down what was counted of the use of caches, without waiting for the next time it would. */
  flushUsage(): Promise<void>;
  /** Stops gracefully: requests in flight finish, within the configured deadline. Safe to call twice. */
  close(): Promise<void>;
}

/** What the server and the administrative verbs both need. */
export interface Foundation extends AsyncDisposable {
  readonly config: ServerConfig;
  readonly logger: Logger;
  readonly storage: ObjectStorage;
  readonly database: Database;
  readonly caches: CacheDirectory;
  readonly seal: KeySeal;
}

/**
 * Opens storage and database, making both if need be.
 * @throws `storage-failed`, `database-failed`, `key-unsealable`
 */
export async function openFoundation(
  config: ServerConfig,
  logger: Logger,
  observer?: Observer,
): Promise<Foundation> {
  await mkdir(config.data, { recursive: true });
  const sealFile = config.keys.seal_key_file;
  const seal = await KeySeal.open(sealFile ?? join(config.data, 'seal-key'), {
    create: sealFile === undefined,
  });
  const opened = await openStorage(config);
  const storage = observer === undefined ? opened : observeStorage(opened, observer);
  try {
    const database = await openDatabase(databaseOptions(config), observer?.database);
    const keyDirectory = join(config.data, 'keys');
    return {
      config,
      logger,
      storage,
      database,
      caches: new CacheDirectory({ database, storage, seal, keyDirectory }),
      seal,
      async [Symbol.asyncDispose]() {
        await database[Symbol.asyncDispose]();
        await storage[Symbol.asyncDispose]();
      },
    };
  } catch (error) {
    await storage[Symbol.asyncDispose]();
    throw error;
  }
}

/**
 * Starts a server: on an empty data directory it first makes a public cache `main` and an admin token.
 * @throws what opening storage, database or socket throws
 */
export async function startServer(whole: ServerConfig, logger: Logger): Promise<RunningServer> {
  const config = isSupervised() ? shareOf(whole, availableParallelism()) : whole;
  const metrics = config.metrics.enabled ? new Metrics() : undefined;
  const traces = await openTraces(config);
  const heard = [metrics?.observer, traces?.observer].filter((each) => each !== undefined);
  const foundation = await openFoundation(config, logger, heard.length > 0 ? observers(heard) : undefined);
  try {
    const bootstrapped = await bootstrap(foundation);
    return await serve(foundation, { bootstrapped, metrics, traces });
  } catch (error) {
    await traces?.[Symbol.asyncDispose]();
    await foundation[Symbol.asyncDispose]();
    throw error;
  }
}

interface Beginnings {
  readonly bootstrapped: Bootstrapped;
  readonly metrics: Metrics | undefined;
  readonly traces: Traces | undefined;
}

async function serve(
  foundation: Foundation,
  { bootstrapped, metrics, traces }: Beginnings,
): Promise<RunningServer> {
  const { config, logger } = foundation;
  if (metrics !== undefined && isSupervised()) metrics.share();
  const reader = openNarReader(config);
  let isStopping = false;
  const tokenUse = new TokenUse(foundation.database, logger);
  const leases = new Leases(foundation.database, leaseTimes(config.uploads.lease));
  const client = openUpstreamClient(config);
  const maker = createDeltaMaker(foundation);
  const usage = new UsageRecorder(foundation);
  const services = assemble(foundation, {
    reader,
    client,
    tokenUse,
    leases,
    maker,
    usage,
    metrics,
    traces,
    isStopping: () => isStopping,
  });
  if (metrics !== undefined) measureQueues(metrics, services, reader);
  const sweeper = Sweeper.start(foundation, leases);
  const keeper = Keeper.start({ ...services, leases, interval: config.collection.interval });
  const metricsServer = await listenForMetrics(services);
  const server = await listen(services);
  logger.info(
    { url: server.url, storage: config.storage.engine, database: config.database.engine },
    'serving',
  );
  const stop = async (): Promise<void> => {
    isStopping = true;
    logger.info('stopping: no new connections, requests in flight finish');
    await server.close(config.timeouts.shutdown);
    await metricsServer?.close();
    await Promise.all([services.collector.stop(), keeper.stop(), sweeper.stop()]);
    await services.resigner.stop();
    await client[Symbol.asyncDispose]();
    await services.pathUse.stop();
    await tokenUse.stop();
    await maker?.[Symbol.asyncDispose]();
    await usage.stop();
    await reader[Symbol.asyncDispose]();
    await foundation[Symbol.asyncDispose]();
    await traces?.[Symbol.asyncDispose]();
    logger.info('stopped');
  };
  let stopped: Promise<void> | undefined;
  return {
    url: server.url,
    bootstrapped,
    services,
    flushUsage: () => usage.flush(),
    close: () => (stopped ??= stop()),
  };
}

function createDeltaMaker({ config, storage }: Foundation): DeltaMaker | undefined {
  const { enabled, workers, memory, max_nar: maxNar } = config.deltas;
  if (!enabled) return undefined;
  // Half of the machine: a delta is never urgent.
  const half = Math.ceil(availableParallelism() / 2);
  return new DeltaMaker({ storage, workers: workers ?? half, memory, maxNar });
}

function assemble(
  foundation: Foundation,
  parts: {
    readonly reader: NarReader;
    readonly tokenUse: TokenUse;
    readonly leases: Leases;
    readonly client: UpstreamClient;
    readonly maker: DeltaMaker | undefined;
    readonly usage: UsageRecorder;
    readonly metrics: Metrics | undefined;
    readonly traces: Traces | undefined;
    readonly isStopping: () => boolean;
  },
): Services {
  const { reader, tokenUse, leases, client, maker, usage, metrics, traces, isStopping } = parts;
  const { config, logger, storage, database, caches, seal } = foundation;
  const { bodies, room } = limitMemory(config, metrics);
  const { nars, narInfos, publisher, upstreams } = assembleIntake(foundation, {
    reader,
    leases,
    client,
    room,
    onReceived: (cache, nar) => metrics?.narReceived(cache.name, nar),
  });
  const oidc = new Oidc(issuersOf(config), {
    reachable: new ReachableAddresses(config.upstreams.allow_private),
  });
  const { grace, nar_lease: narLease } = config.collection;
  const pins = new Pins({ database, storage });
  const withdrawal = new Withdrawal({ database, storage, leases, narInfos, logger, narLease });
  return {
    config,
    logger,
    storage,
    database,
    caches,
    gate: new Gate({ database, caches, oidc, onUse: (tokenId) => tokenUse.note(tokenId) }),
    oidc,
    audit: new AuditLog(database),
    bodies,
    nars,
    narReader: reader,
    narInfos,
    publisher,
    stock: new StockPublisher({ database, nars, publisher, logger }),
    sideFiles: new SideFiles({ database, storage }),
    realisations: new Realisations(storage),
    pins,
    upstreams,
    resigner: new Resigner({ database, publisher, leases, logger }),
    pathUse: new PathUse(database, logger),
    withdrawal,
    collector: new Collector({ database, storage, leases, pins, withdrawal, logger, grace }),
    deltas: maker === undefined ? undefined : new DeltaStore({ database, storage, maker, logger }),
    metrics,
    traces,
    usage,
    sessions: new Sessions(database, seal.deriveKey('sessions'), {
      isSecure: config.public_url?.startsWith('https:') ?? false,
    }),
    isStopping,
  };
}

/** An issuer without an audience of its own addresses us by our public URL. */
function issuersOf({ oidc, public_url: publicUrl }: ServerConfig): OidcIssuer[] {
  return oidc.issuers.map(({ audience = publicUrl, ...issuer }) => {
    if (audience !== undefined) return { ...issuer, audience };
    throw new ServerError(
      'config-malformed',
      `oidc.issuers: ${issuer.issuer} has no audience, and there is no public_url to take its place`,
    );
  });
}

/** What waits, and what runs. */
function measureQueues(metrics: Metrics, { audit }: Services, reader: NarReader): void {
  metrics.gauge('larder_processes', 'Processes of this server that take requests', () => 1);
  metrics.gauge('larder_nar_jobs_running', 'NARs that worker threads read now', () => reader.load.running);
  metrics.gauge('larder_nar_jobs_waiting', 'NARs that wait for a thread', () => reader.load.waiting);
  metrics.gauge('larder_audit_entries_waiting', 'Audit entries that wait to be written', () => audit.waiting);
}

export async function openStorage({ storage, data }: ServerConfig): Promise<ObjectStorage> {
  if (storage.engine === 'disk') return DiskStorage.open(resolve(data, storage.path ?? 'storage'));
  const { access_key_id: accessKeyId, secret_access_key: secretAccessKey } = storage;
  return new S3Storage({
    bucket: storage.bucket,
    prefix: storage.prefix,
    partSize: storage.part_size,
    ...(storage.region === undefined ? {} : { region: storage.region }),
    ...(storage.endpoint === undefined ? {} : { endpoint: storage.endpoint }),
    ...(storage.path_style === undefined ? {} : { pathStyle: storage.path_style }),
    ...(accessKeyId === undefined || secretAccessKey === undefined
      ? {}
      : { credentials: { accessKeyId, secretAccessKey } }),
  });
}

function databaseOptions({ database, data }: ServerConfig): DatabaseOptions {
  return database.engine === 'sqlite'
    ? { engine: 'sqlite', path: resolve(data, database.path ?? 'larder.db') }
    : database;
}
