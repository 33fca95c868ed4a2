import type { Schema } from '../database/schema.js';

export type TableName = keyof Schema;

/** A table in a dump: what its rows are known by, which is the order they come in. */
export interface DumpedTable {
  readonly table: TableName;
  readonly key: readonly string[];
  /** Whether `id` is given out by the database, which must go on behind those that are there. */
  readonly hasSerial: boolean;
}

/** Every table, or why it stays out; a new one without a line here does not compile. */
const KEYS: { readonly [Table in TableName]: readonly (keyof Schema[Table] & string)[] | 'of the moment' } = {
  caches: ['id'],
  signing_keys: ['id'],
  tokens: ['id'],
  audit_entries: ['id'],
  nars: ['cache_id', 'nar_hash'],
  nar_files: ['cache_id', 'file_name'],
  nar_facts: ['cache_id', 'nar_hash'],
  debug_links: ['cache_id', 'build_id'],
  paths: ['cache_id', 'hash_part'],
  path_references: ['cache_id', 'hash_part', 'reference'],
  pending_paths: ['cache_id', 'hash_part'],
  pending_needs: ['cache_id', 'hash_part', 'need'],
  deltas: ['cache_id', 'nar_hash', 'base_hash'],
  pins: ['cache_id', 'name'],
  pin_revisions: ['cache_id', 'pin', 'revision'],
  pin_paths: ['cache_id', 'pin', 'revision', 'hash_part'],
  cache_usage: ['cache_id'],
  withdrawn_paths: ['cache_id', 'hash_part'],
  upstream_paths: ['cache_id', 'hash_part'],
  resign_jobs: ['cache_id'],
  name_parts: ['cache_id', 'part', 'name'],
  usage_days: ['cache_id', 'day'],
  collections: ['id'],
  collection_plan: ['collection_id', 'seq'],
  collection_counts: ['collection_id', 'object'],
  // Who changes what just now: nobody, where the dump is read.
  leases: 'of the moment',
};

/** In an order in which each comes behind those it refers to. */
export const dumpedTables: readonly DumpedTable[] = Object.entries(KEYS).flatMap(([table, key]) =>
  typeof key === 'string'
    ? []
    : [{ table: table as TableName, key, hasSerial: key.length === 1 && key[0] === 'id' }],
);
