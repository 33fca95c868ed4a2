/** Where queued paths go and from where, as it is kept in the queue: no secrets, only the files that hold them. */
export interface PushTarget {
  /** The cache's URI. */
  readonly cache: string;
  /** The store that has the paths. */
  readonly store: string;
  readonly tokenFile?: string;
  /** Files with keys that sign what is pushed. */
  readonly secretKeyFiles?: readonly string[];
  /** URIs of caches whose paths are not pushed. */
  readonly upstreams?: readonly string[];
  /** Names of keys whose paths are not pushed. */
  readonly upstreamKeys?: readonly string[];
}
