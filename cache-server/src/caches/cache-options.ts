import { z } from 'zod';

/** How long a cache keeps paths. A path goes when any of these says so and nothing keeps it. */
export interface Retention {
  /** Milliseconds since it was last pushed. */
  readonly age?: number | undefined;
  /** Milliseconds since it was last pushed or fetched. */
  readonly unused?: number | undefined;
  /** Bytes that the NARs of all paths may have together, as stored: the least recently used go first. */
  readonly size?: number | undefined;
  /** Newest revisions of each pin that are kept, where the pin does not say itself. */
  readonly keepLast?: number | undefined;
}

/** A cache behind a cache. */
export interface Upstream {
  /** Without a slash at the end. */
  readonly url: string;
  /** `name:base64`; a path needs a good signature by one of them, unless it is content-addressed. */
  readonly publicKeys: readonly string[];
}

/** Settings of a cache beside its name, visibility and priority: one JSON document, in the database and in the bucket. */
export interface CacheOptions {
  readonly retention?: Retention | undefined;
  /** Most bytes of NARs, as stored. */
  readonly quota?: number | undefined;
  /** Asked for what is not here, in this order. */
  readonly upstreams?: readonly Upstream[] | undefined;
  /** Whether paths of upstreams are signed with the cache's own keys as well. */
  readonly signUpstream?: boolean | undefined;
}

const count = z.int().min(1);

export const cacheOptionsSchema = z.object({
  retention: z
    .object({
      age: count.optional(),
      unused: count.optional(),
      size: z.int().min(0).optional(),
      keepLast: count.optional(),
    })
    .optional(),
  quota: z.int().min(0).optional(),
  upstreams: z.array(z.object({ url: z.string(), publicKeys: z.array(z.string()) })).optional(),
  signUpstream: z.boolean().optional(),
});

/** Reads what the database or the bucket has; parts that are not understood count as not set. */
export function parseCacheOptions(value: unknown): CacheOptions {
  const parsed = cacheOptionsSchema.safeParse(value);
  return parsed.success ? parsed.data : {};
}
