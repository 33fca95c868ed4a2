import type { Retention } from '../caches/cache-options.js';

/** What a collection goes by, as points in time: it stays the same however long the collection takes. Milliseconds. */
export interface CollectionPolicy {
  /** Paths pushed before this are to go… */
  readonly pushedBefore?: number;
  /** …and those neither pushed nor fetched since this… */
  readonly usedBefore?: number;
  /** …and, least recently used first, as many as it takes until the NARs of the others have no more bytes than this. */
  readonly maxBytes?: number;
  /** Whatever was pushed or fetched since this stays: somebody may be about to refer to it. */
  readonly graceSince: number;
}

export interface PathTimes {
  readonly pushed_at: number;
  readonly last_used_at: number;
}

export function policyOf(retention: Retention, now: number, grace: number): CollectionPolicy {
  const { age, unused, size } = retention;
  return {
    ...(age === undefined ? {} : { pushedBefore: now - age }),
    ...(unused === undefined ? {} : { usedBefore: now - unused }),
    ...(size === undefined ? {} : { maxBytes: size }),
    graceSince: now - grace,
  };
}

/** Whether a policy can want anything gone. */
export function isLimited(policy: CollectionPolicy): boolean {
  return (
    policy.pushedBefore !== undefined || policy.usedBefore !== undefined || policy.maxBytes !== undefined
  );
}

/** Whether a path is old enough to go, whatever the size of the cache. */
export function isOutdated(policy: CollectionPolicy, { pushed_at, last_used_at }: PathTimes): boolean {
  if (isFresh(policy, { pushed_at, last_used_at })) return false;
  if (policy.pushedBefore !== undefined && pushed_at < policy.pushedBefore) return true;
  return policy.usedBefore !== undefined && last_used_at < policy.usedBefore;
}

export function isFresh({ graceSince }: CollectionPolicy, { pushed_at, last_used_at }: PathTimes): boolean {
  return Math.max(pushed_at, last_used_at) >= graceSince;
}
