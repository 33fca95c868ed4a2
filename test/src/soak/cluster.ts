import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { type LoadBalancer, startLoadBalancer } from '../engines/nginx.js';
import { createDatabase, type RestartingPostgres, startRestartingPostgres } from '../engines/postgres.js';
import { createBucket, type RestartingS3, type S3Bucket, startRestartingS3 } from '../engines/s3.js';
import { freePort } from '../engines/scratch.js';
import { remoteEngines } from '../engines/server-engines.js';
import { Larder } from '../larder/larder.js';
import { LarderServer } from '../larder/server.js';

export interface ClusterOptions {
  /** Seconds that what was pushed stays at least. */
  readonly grace: number;
  /** Seconds that engines and replicas are away after they were killed. */
  readonly downtime: number;
}

/** How long a lease of these replicas lasts, in seconds: the dead are overcome soon. */
export const LEASE = 6;

/** Two replicas on PostgreSQL and S3 behind nginx; each of them comes back when it was killed. */
export class Cluster implements AsyncDisposable {
  readonly larder: Larder;
  readonly database: RestartingPostgres;
  readonly storage: RestartingS3;
  readonly bucket: Omit<S3Bucket, typeof Symbol.asyncDispose>;
  readonly balancer: LoadBalancer;
  readonly databaseUrl: string;
  readonly token: string;
  readonly replicas: Replica[];

  private constructor(parts: Omit<Cluster, typeof Symbol.asyncDispose>) {
    this.larder = parts.larder;
    this.database = parts.database;
    this.storage = parts.storage;
    this.bucket = parts.bucket;
    this.balancer = parts.balancer;
    this.databaseUrl = parts.databaseUrl;
    this.token = parts.token;
    this.replicas = parts.replicas;
  }

  static async start({ grace, downtime }: ClusterOptions): Promise<Cluster> {
    const [larder, database, storage] = await Promise.all([
      Larder.create(),
      startRestartingPostgres(downtime),
      startRestartingS3(downtime),
    ]);
    const bucket = await createBucket(storage);
    const databaseUrl = await createDatabase(database.url);
    const config = larder.scratch.join('larder.toml');
    const tokenFile = larder.scratch.join('token');
    const token = randomBytes(32).toString('hex');
    await writeFile(tokenFile, token);
    await writeFile(larder.scratch.join('seal-key'), randomBytes(32).toString('base64'));
    await writeFile(config, configuration(larder, { bucket, databaseUrl, tokenFile, grace }));
    const ports = [await freePort(), await freePort()];
    const replicas = [];
    for (const port of ports) replicas.push(await Replica.start(larder, { port, config, downtime }));
    const balancer = await startLoadBalancer(ports);
    return new Cluster({ larder, database, storage, bucket, balancer, databaseUrl, token, replicas });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.replicas.map((replica) => replica.stop()));
    await this.balancer[Symbol.asyncDispose]();
    this.bucket.client.destroy();
    await Promise.all([this.database[Symbol.asyncDispose](), this.storage[Symbol.asyncDispose]()]);
    await this.larder[Symbol.asyncDispose]();
  }
}

interface ReplicaOptions {
  readonly port: number;
  readonly config: string;
  readonly downtime: number;
}

/** A server under a supervisor that starts it again. */
export class Replica {
  readonly #larder: Larder;
  readonly #options: ReplicaOptions;
  #server: LarderServer;
  #starting: Promise<void> | undefined;
  #isStopping = false;
  #isExpected = false;

  private constructor(larder: Larder, options: ReplicaOptions, server: LarderServer) {
    this.#larder = larder;
    this.#options = options;
    this.#server = server;
    void this.#watch(server);
  }

  static async start(larder: Larder, options: ReplicaOptions): Promise<Replica> {
    return new Replica(larder, options, await launch(larder, options));
  }

  /** What it printed each time that it ended by itself, which it never must. */
  readonly crashes: string[] = [];

  /** Kills it without warning, or has it end gracefully; it comes back by itself. */
  async end(signal: NodeJS.Signals): Promise<void> {
    await this.#starting;
    this.#isExpected = true;
    await this.#server.stop(signal);
    this.#starting = this.#comeBack();
  }

  /** Resolves when it takes requests. */
  async ready(): Promise<void> {
    await this.#starting;
  }

  /** Resident memory in MB; `undefined` while it is away. */
  async memory(): Promise<number | undefined> {
    const status = await readFile(`/proc/${this.#server.pid}/status`, 'utf8').catch(() => '');
    const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1];
    return kilobytes === undefined ? undefined : Number(kilobytes) / 1024;
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#isExpected = true;
    await this.#starting;
    await this.#server.stop();
  }

  async #watch(server: LarderServer): Promise<void> {
    await server.ended();
    if (this.#isExpected || server !== this.#server) return;
    this.crashes.push(await server.output());
    this.#isExpected = true;
    this.#starting = this.#comeBack();
  }

  async #comeBack(): Promise<void> {
    await delay(this.#options.downtime * 1000);
    while (!this.#isStopping) {
      try {
        this.#server = await launch(this.#larder, this.#options);
        this.#isExpected = false;
        void this.#watch(this.#server);
        return;
      } catch {
        // Its database or storage is away as well.
        await delay(500);
      }
    }
  }
}

function launch(larder: Larder, { port, config }: ReplicaOptions): Promise<LarderServer> {
  return LarderServer.start(larder, {
    port,
    data: larder.scratch.join(`data-${port}`),
    args: ['--config', config],
  });
}

interface Parts {
  readonly bucket: Omit<S3Bucket, typeof Symbol.asyncDispose>;
  readonly databaseUrl: string;
  readonly tokenFile: string;
  readonly grace: number;
}

function configuration(larder: Larder, { bucket, databaseUrl, tokenFile, grace }: Parts): string {
  return `
admin_token_file = "${tokenFile}"
[log]
requests = "none"
${remoteEngines(bucket, { url: databaseUrl })}[keys]
seal_key_file = "${larder.scratch.join('seal-key')}"
[uploads]
lease = "${LEASE} s"
pending = "1 min"
[collection]
grace = "${grace} s"
nar_lease = "${grace} s"
`;
}
