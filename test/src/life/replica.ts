import type { Cache } from '@larder/cache-server/caches/cache';
import { Collector } from '@larder/cache-server/collect/collector';
import { deleteExpiredNars } from '@larder/cache-server/collect/expired-nars';
import { settleLapsed } from '@larder/cache-server/collect/lapsed';
import { Withdrawal } from '@larder/cache-server/collect/withdraw';
import type { Database } from '@larder/cache-server/database/database';
import { Leases, leaseTimes } from '@larder/cache-server/leases/leases';
import type { NarReader } from '@larder/cache-server/nars/nar-reader';
import { NarStore } from '@larder/cache-server/nars/nar-store';
import { UploadRoom } from '@larder/cache-server/nars/upload-room';
import { Pins } from '@larder/cache-server/pins/pins';
import { parseCommitPath } from '@larder/cache-server/publish/draft';
import { Publisher } from '@larder/cache-server/publish/publisher';
import { NarInfoCache } from '@larder/cache-server/read/narinfo-cache';
import type { ObjectStorage } from '@larder/cache-server/storage/storage';
import { pino } from 'pino';
import { bare, commitOf, type SamplePath } from '../server/sample-path.js';
import { FragileStorage } from './fragile-storage.js';

/** How long a lease of these replicas lasts, in milliseconds: the dead are overcome soon. */
export const LEASE = 600;
const HOUR = 3_600_000;

/** What a server does to its caches, without HTTP, on a storage that can be told to fail. */
export class Replica {
  readonly database: Database;
  readonly storage: FragileStorage;
  readonly leases: Leases;
  readonly nars: NarStore;
  readonly publisher: Publisher;
  readonly pins: Pins;
  readonly withdrawal: Withdrawal;
  readonly collector: Collector;
  readonly #logger = pino({ level: 'silent' });

  constructor(database: Database, storage: ObjectStorage, reader: NarReader) {
    this.database = database;
    this.storage = new FragileStorage(storage);
    this.leases = new Leases(database, leaseTimes(LEASE));
    const common = { database, storage: this.storage, leases: this.leases, logger: this.#logger, grace: 0 };
    const narInfos = new NarInfoCache({ database });
    const room = new UploadRoom({ memory: 2 ** 30, staging: 2 ** 20, patience: HOUR });
    this.nars = new NarStore({ ...common, reader, room, keepUnused: HOUR });
    this.publisher = new Publisher({ ...common, nars: this.nars, narInfos, verifyReferences: true });
    this.pins = new Pins(common);
    this.withdrawal = new Withdrawal({ ...common, narInfos, narLease: HOUR });
    this.collector = new Collector({ ...common, pins: this.pins, withdrawal: this.withdrawal });
  }

  /** Uploads as a client does: the NARs the server has not, then all in one commit. */
  async push(cache: Cache, paths: readonly SamplePath[]): Promise<void> {
    for (const path of paths) {
      const narHash = bare(path.narHash);
      if ((await this.nars.findForUpload(cache, narHash)) !== undefined) continue;
      await this.nars.receive(cache, chunks(path.nar), { compression: 'none', narHash });
    }
    await this.publisher.publish(cache, paths.map(commitOf).map(parseCommitPath));
  }

  /** Collects, to the end. */
  async collect(cache: Cache): Promise<void> {
    await this.collector.start(cache, { dryRun: false });
    await this.collector.idle();
    await this.collector.resume(cache);
  }

  async deleteExpiredNars(cache: Cache): Promise<void> {
    const { database, storage, leases } = this;
    await deleteExpiredNars({ database, storage, leases, logger: this.#logger }, cache);
  }

  async settleLapsed(cache: Cache): Promise<number> {
    const { database, storage, leases } = this;
    return settleLapsed({ database, storage, leases, caches: async () => [cache] });
  }
}

async function* chunks(bytes: Buffer): AsyncIterable<Uint8Array> {
  yield bytes;
}
