import type { ServerConfig } from './config.js';
import { Leases, leaseTimes } from './leases/leases.js';
import { openUploadRoom } from './memory-limits.js';
import { NarReader } from './nars/nar-reader.js';
import { NarStore, type NarStoreOptions } from './nars/nar-store.js';
import type { UploadRoom } from './nars/upload-room.js';
import { Publisher } from './publish/publisher.js';
import { NarInfoCache } from './read/narinfo-cache.js';
import type { Foundation } from './start.js';
import { ReachableAddresses } from './upstream/reachable.js';
import { UpstreamClient } from './upstream/upstream-client.js';
import { Upstreams } from './upstream/upstreams.js';

/** What takes paths in: the same for uploads and for what is taken over from elsewhere. */
export interface Intake {
  readonly nars: NarStore;
  readonly narInfos: NarInfoCache;
  readonly publisher: Publisher;
  readonly upstreams: Upstreams;
  readonly leases: Leases;
  readonly reader: NarReader;
}

export interface IntakeParts {
  readonly reader: NarReader;
  readonly leases: Leases;
  readonly client: UpstreamClient;
  readonly room: UploadRoom;
  readonly onReceived?: NarStoreOptions['onReceived'];
}

export function assembleIntake(
  { config, database, storage, logger }: Foundation,
  { reader, leases, client, room, onReceived }: IntakeParts,
): Intake {
  const nars = new NarStore({
    database,
    storage,
    reader,
    leases,
    room,
    keepUnused: config.uploads.pending,
    ...(onReceived === undefined ? {} : { onReceived }),
  });
  const narInfos = new NarInfoCache({ database });
  const publisher: Publisher = new Publisher({
    database,
    storage,
    nars,
    narInfos,
    leases,
    verifyReferences: config.uploads.verify_references,
    grace: config.collection.grace,
    hasUpstream: (cache, path) => upstreams.has(cache, path),
  });
  const { negative } = config.upstreams;
  const upstreams = new Upstreams({ database, nars, publisher, client, logger, negative });
  return { nars, narInfos, publisher, upstreams, leases, reader };
}

export function openUpstreamClient({ upstreams }: ServerConfig): UpstreamClient {
  const reachable = new ReachableAddresses(upstreams.allow_private);
  return new UpstreamClient({ timeout: upstreams.timeout, reachable });
}

export function openNarReader({ uploads, limits }: ServerConfig): NarReader {
  return new NarReader({
    level: uploads.compression_level,
    maxSize: limits.nar,
    ...(uploads.workers === undefined ? {} : { workers: uploads.workers }),
  });
}

/** The longest that a timer takes, in milliseconds. */
const LONGEST = 2 ** 31 - 1;

/** One for a process that serves nobody. */
export function openIntake(foundation: Foundation): Intake & AsyncDisposable {
  const { config, database } = foundation;
  const reader = openNarReader(config);
  const client = openUpstreamClient(config);
  const leases = new Leases(database, leaseTimes(config.uploads.lease));
  // There is nobody to tell to come back.
  const room = openUploadRoom(config, { patience: LONGEST });
  return {
    ...assembleIntake(foundation, { reader, leases, client, room }),
    async [Symbol.asyncDispose]() {
      await client[Symbol.asyncDispose]();
      await reader[Symbol.asyncDispose]();
    },
  };
}
