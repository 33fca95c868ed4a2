import { z } from 'zod';
import { cachePattern, scopes } from '../auth/scopes.js';
import type { CacheOptions, Retention } from '../caches/cache-options.js';
import { ServerError } from '../errors.js';

/** The bodies of the administration API. */

export const newCacheBody = z.strictObject({
  name: z.string(),
  public: z.boolean().default(false),
  priority: z.int().min(0).max(1000).optional(),
  storeDir: z.string().optional(),
});

/** Up to a hundred years of seconds. */
const seconds = z.int().min(1).max(3_200_000_000);
const bytes = z.int().min(0);

const retention = z.strictObject({
  /** Seconds. */
  age: seconds.optional(),
  unused: seconds.optional(),
  /** Bytes. */
  size: bytes.optional(),
  keepLast: z.int().min(1).max(100_000).optional(),
});

const upstream = z.strictObject({
  url: z
    .url({ protocol: /^https?$/ })
    .transform((url) => url.replace(/\/+$/, ''))
    .pipe(z.string()),
  /** `name:base64`. */
  publicKeys: z
    .array(z.string().regex(/^[^:\s]+:[A-Za-z0-9+/]{43}=$/, 'must be name:base64'))
    .min(1)
    .max(16),
});

export const cacheChangeBody = z.strictObject({
  public: z.boolean().optional(),
  priority: z.int().min(0).max(1000).optional(),
  /** Replaces all of it; null for no limit. */
  retention: retention.nullish(),
  /** Bytes; null for no limit. */
  quota: bytes.nullish(),
  /** Caches to ask for what is not here; null for none. */
  upstreams: z.array(upstream).max(16).nullish(),
  /** Whether paths of upstreams get the cache's own signatures, too. */
  signUpstream: z.boolean().optional(),
});

/** What a change of a cache's settings means for its options: those that are named, null taking one away. */
export function optionsChange({
  retention,
  quota,
  upstreams,
  signUpstream,
}: Omit<z.output<typeof cacheChangeBody>, 'public' | 'priority'>): CacheOptions {
  return {
    ...(retention === undefined
      ? {}
      : { retention: retention === null ? undefined : inMilliseconds(retention) }),
    ...(quota === undefined ? {} : { quota: quota ?? undefined }),
    ...(upstreams === undefined ? {} : { upstreams: upstreams ?? undefined }),
    ...(signUpstream === undefined ? {} : { signUpstream }),
  };
}

function inMilliseconds({ age, unused, ...rest }: z.output<typeof retention>): Retention {
  return {
    ...rest,
    ...(age === undefined ? {} : { age: age * 1000 }),
    ...(unused === undefined ? {} : { unused: unused * 1000 }),
  };
}

export const newKeyBody = z.strictObject({ name: z.string().min(1).max(200).optional() });

export const keyChangeBody = z.strictObject({ active: z.boolean() });

export const newTokenBody = z.strictObject({
  name: z.string().min(1).max(200),
  caches: z.array(cachePattern).min(1).max(100),
  scopes: z.array(z.enum(scopes)).min(1),
  /** ISO 8601. */
  expiresAt: z.iso.datetime({ offset: true }).optional(),
});

/** ISO 8601. */
const time = z.iso.datetime();

/** `GET /api/v1/caches/<cache>/usage`. */
export const cacheUsage = z
  .object({
    paths: z.int(),
    nars: z.int().meta({
      description:
        'Stored NARs, those that are kept a while for clients that remember withdrawn paths among them',
    }),
    narBytes: z.int().meta({ description: 'Their bytes as stored' }),
  })
  .meta({ id: 'CacheUsage' });
export type CacheUsage = z.output<typeof cacheUsage>;

export const resignBody = z.strictObject({
  dropRetired: z.boolean().default(false).meta({ description: 'Take off the signatures of retired keys' }),
});

export const resignJob = z
  .object({
    dropRetired: z.boolean(),
    seen: z.int().meta({ description: 'Paths looked at so far' }),
    changed: z.int().meta({ description: 'Of those, how many got other signatures' }),
    startedAt: time,
    finishedAt: time.exactOptional(),
  })
  .meta({ id: 'ResignJob' });
export type ResignJob = z.output<typeof resignJob>;

/** What is told of a token: never the token itself. */
export const tokenDescription = z
  .object({
    id: z.int(),
    name: z.string(),
    caches: z.array(z.string()).readonly(),
    scopes: z.array(z.string()).readonly(),
    createdAt: time,
    expiresAt: time.exactOptional(),
    revokedAt: time.exactOptional(),
    lastUsedAt: time.exactOptional(),
  })
  .meta({ id: 'Token' });
export type TokenDescription = z.output<typeof tokenDescription>;

/** The answer to a new token: the only time its text is told. */
export const createdToken = z
  .object({ ...tokenDescription.shape, token: z.string() })
  .meta({ id: 'NewToken' });
export type CreatedToken = z.output<typeof createdToken>;

export const auditEntry = z
  .object({
    id: z.int(),
    at: time,
    token_id: z.int().nullable(),
    token_name: z.string().nullable().meta({ description: 'As it was called then' }),
    address: z.string().nullable(),
    cache: z.string().nullable(),
    action: z.string().meta({ description: 'The route: `PUT /:cache/nar/:file`' }),
    target: z.string().meta({ description: 'The path that was asked for' }),
    status: z.int(),
    request: z.string().meta({ description: 'As in the log, and in X-Request-Id' }),
  })
  .meta({ id: 'AuditEntry' });

/** @throws `request-malformed` naming the field */
export function parseBody<T>(schema: z.ZodType<T>, value: unknown): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const field = issue?.path.join('.') ?? '';
  throw new ServerError(
    'request-malformed',
    `${field === '' ? 'the request' : field}: ${issue?.message ?? ''}`,
    {
      fields: { field },
    },
  );
}
