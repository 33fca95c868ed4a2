import type { AuditEntriesTable } from './tables/audit-entries.js';
import type { CacheUsageTable } from './tables/cache-usage.js';
import type { CachesTable } from './tables/caches.js';
import type { CollectionCountsTable, CollectionPlanTable, CollectionsTable } from './tables/collections.js';
import type { DebugLinksTable } from './tables/debug-links.js';
import type { DeltasTable } from './tables/deltas.js';
import type { LeasesTable } from './tables/leases.js';
import type { NamePartsTable } from './tables/name-parts.js';
import type { NarFactsTable } from './tables/nar-facts.js';
import type { NarFilesTable } from './tables/nar-files.js';
import type { NarsTable } from './tables/nars.js';
import type { PathReferencesTable } from './tables/path-references.js';
import type { PathsTable } from './tables/paths.js';
import type { PendingNeedsTable, PendingPathsTable } from './tables/pending-paths.js';
import type { PinPathsTable, PinRevisionsTable, PinsTable } from './tables/pins.js';
import type { ResignJobsTable } from './tables/resign-jobs.js';
import type { SigningKeysTable } from './tables/signing-keys.js';
import type { TokensTable } from './tables/tokens.js';
import type { UpstreamPathsTable } from './tables/upstream-paths.js';
import type { UsageDaysTable } from './tables/usage-days.js';
import type { WithdrawnPathsTable } from './tables/withdrawn-paths.js';

/**
 * The tables, one a file below `tables/`, with what is asked of them. All of it is an index over the bucket, but for
 * tokens and keys. Times are milliseconds since the epoch, truth is 0 or 1, hashes are nix32 without a prefix: the same in
 * SQLite and PostgreSQL.
 */
export interface Schema {
  caches: CachesTable;
  signing_keys: SigningKeysTable;
  tokens: TokensTable;
  nars: NarsTable;
  nar_files: NarFilesTable;
  nar_facts: NarFactsTable;
  paths: PathsTable;
  path_references: PathReferencesTable;
  pending_paths: PendingPathsTable;
  pending_needs: PendingNeedsTable;
  debug_links: DebugLinksTable;
  deltas: DeltasTable;
  audit_entries: AuditEntriesTable;
  pins: PinsTable;
  pin_revisions: PinRevisionsTable;
  pin_paths: PinPathsTable;
  cache_usage: CacheUsageTable;
  withdrawn_paths: WithdrawnPathsTable;
  leases: LeasesTable;
  collections: CollectionsTable;
  collection_plan: CollectionPlanTable;
  collection_counts: CollectionCountsTable;
  upstream_paths: UpstreamPathsTable;
  resign_jobs: ResignJobsTable;
  name_parts: NamePartsTable;
  usage_days: UsageDaysTable;
}
