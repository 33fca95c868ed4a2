import type { Logger } from 'pino';
import type { AuditLog } from '../audit/audit-log.js';
import type { Gate } from '../auth/access.js';
import type { Oidc } from '../auth/oidc.js';
import type { CacheDirectory } from '../caches/cache-directory.js';
import type { Collector } from '../collect/collector.js';
import type { Withdrawal } from '../collect/withdraw.js';
import type { ServerConfig } from '../config.js';
import type { Database } from '../database/database.js';
import type { DeltaStore } from '../deltas/delta-store.js';
import type { NarReader } from '../nars/nar-reader.js';
import type { NarStore } from '../nars/nar-store.js';
import type { Metrics } from '../observe/metrics.js';
import type { Traces } from '../observe/traces.js';
import type { Pins } from '../pins/pins.js';
import type { Publisher } from '../publish/publisher.js';
import type { Realisations } from '../publish/realisations.js';
import type { Resigner } from '../publish/resigner.js';
import type { SideFiles } from '../publish/side-files.js';
import type { StockPublisher } from '../publish/stock-publisher.js';
import type { NarInfoCache } from '../read/narinfo-cache.js';
import type { PathUse } from '../read/path-use.js';
import type { ObjectStorage } from '../storage/storage.js';
import type { Upstreams } from '../upstream/upstreams.js';
import type { UsageRecorder } from '../usage/usage-recorder.js';
import type { Sessions } from '../web/sessions.js';
import type { BodyMemory } from './body-memory.js';

/** What routes are made of. */
export interface Services {
  readonly config: ServerConfig;
  readonly logger: Logger;
  readonly storage: ObjectStorage;
  readonly database: Database;
  readonly caches: CacheDirectory;
  readonly gate: Gate;
  readonly oidc: Oidc;
  readonly audit: AuditLog;
  readonly bodies: BodyMemory;
  readonly nars: NarStore;
  readonly narReader: NarReader;
  readonly narInfos: NarInfoCache;
  readonly publisher: Publisher;
  readonly stock: StockPublisher;
  readonly sideFiles: SideFiles;
  readonly realisations: Realisations;
  /** Absent where the configuration wants none. */
  readonly deltas: DeltaStore | undefined;
  readonly pins: Pins;
  readonly upstreams: Upstreams;
  readonly resigner: Resigner;
  readonly pathUse: PathUse;
  readonly withdrawal: Withdrawal;
  readonly collector: Collector;
  readonly usage: UsageRecorder;
  readonly sessions: Sessions;
  /** Absent where they are turned off. */
  readonly metrics: Metrics | undefined;
  readonly traces: Traces | undefined;
  /** Whether the server was told to stop. */
  readonly isStopping: () => boolean;
}
