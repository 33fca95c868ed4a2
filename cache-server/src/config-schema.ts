import { z } from 'zod';
import { cachePattern, scopes } from './auth/scopes.js';
import { byteSize, duration, listenAddress, network } from './config-units.js';

/** Every key of `larder.toml`, with its default. README.md and larder.example.toml document each; a test compares. */

const log = z
  .strictObject({
    level: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info'),
    requests: z.enum(['all', 'writes', 'none']).default('all'),
  })
  .prefault({});

const diskStorage = z.strictObject({
  engine: z.literal('disk'),
  path: z.string().optional(),
});

const s3Storage = z.strictObject({
  engine: z.literal('s3'),
  bucket: z.string().min(1),
  prefix: z
    .string()
    .regex(/^$|^[^/.][^/]*(\/[^/]+)*\/$/, 'must be empty, or end in a slash and not start with one')
    .default(''),
  region: z.string().optional(),
  endpoint: z.url().optional(),
  path_style: z.boolean().optional(),
  access_key_id: z.string().optional(),
  secret_access_key: z.string().optional(),
  part_size: byteSize
    .refine((size) => size >= 5 * 2 ** 20, 'must be at least "5 MiB", the least S3 takes')
    .prefault('8 MiB'),
});

const sqlite = z.strictObject({ engine: z.literal('sqlite'), path: z.string().optional() });

const postgresql = z.strictObject({
  engine: z.literal('postgresql'),
  url: z.string().min(1),
  connections: z.int().min(2).max(1000).default(10),
});

const limits = z
  .strictObject({
    narinfo: byteSize.prefault('1 MiB'),
    listing: byteSize.prefault('64 MiB'),
    log: byteSize.prefault('64 MiB'),
    json: byteSize.prefault('64 MiB'),
    nar: byteSize.prefault('64 GiB'),
    headers: byteSize.prefault('16 KiB'),
    bodies: byteSize.prefault('128 MiB'),
    patience: duration.prefault('10 s'),
  })
  .prefault({});

const timeouts = z
  .strictObject({
    headers: duration.prefault('20 s'),
    idle: duration.prefault('60 s'),
    keep_alive: duration.prefault('75 s'),
    shutdown: duration.prefault('30 s'),
  })
  .prefault({});

const uploads = z
  .strictObject({
    compression_level: z.int().min(1).max(19).default(3),
    workers: z.int().min(1).max(256).optional(),
    memory: byteSize.optional(),
    verify_references: z.boolean().default(true),
    pending: duration.prefault('7 d'),
    orphans: duration.prefault('24 h'),
    lease: duration.prefault('30 s'),
  })
  .prefault({});

const collection = z
  .strictObject({
    interval: duration.prefault('6 h'),
    grace: duration.prefault('24 h'),
    nar_lease: duration.prefault('30 d'),
  })
  .prefault({});

const deltas = z
  .strictObject({
    enabled: z.boolean().default(true),
    max_nar: byteSize.prefault('128 MiB'),
    workers: z.int().min(1).max(256).optional(),
    memory: byteSize.prefault('512 MiB'),
    keep: duration.prefault('30 d'),
    max_size: byteSize.prefault('10 GiB'),
  })
  .prefault({});

const patterns = z.union([z.string().transform((one) => [one]), z.array(z.string()).min(1)]);

const rateLimits = z
  .strictObject({
    window: duration.prefault('1 min'),
    per_address: z.int().min(0).default(0),
    per_token: z.int().min(0).default(0),
    trust_forwarded_for: z.boolean().default(false),
  })
  .prefault({});

const reads = z
  .strictObject({
    redirect: z.enum(['none', 'presigned', 'cdn', 'accel']).default('none'),
    presigned_for: duration.prefault('1 h'),
    cdn_url: z
      .url()
      .transform((url) => url.replace(/\/+$/, ''))
      .optional(),
    accel_location: z
      .string()
      .regex(/^\/[\w./-]+$/, 'must be a location of the proxy, such as /larder-storage')
      .transform((location) => location.replace(/\/+$/, ''))
      .default('/larder-storage'),
  })
  .refine(({ redirect, cdn_url: url }) => redirect !== 'cdn' || url !== undefined, {
    path: ['cdn_url'],
    message: 'is missing: where should reads be sent?',
  })
  .prefault({});

const oidcRule = z.strictObject({
  claims: z
    .record(z.string(), patterns)
    .refine(
      (claims) => Object.keys(claims).length > 0,
      'must name a claim, or everyone the issuer knows would match',
    ),
  caches: z.array(cachePattern).min(1),
  scopes: z.array(z.enum(scopes)).min(1),
});

const oidcIssuer = z.strictObject({
  issuer: z.url(),
  audience: z.string().min(1).optional(),
  jwks_url: z.url().optional(),
  rules: z.array(oidcRule).min(1),
});

const oidc = z
  .strictObject({ session: duration.prefault('1 h'), issuers: z.array(oidcIssuer).default([]) })
  .prefault({});

const metrics = z
  .strictObject({ enabled: z.boolean().default(true), listen: listenAddress.optional() })
  .prefault({});

const traces = z
  .strictObject({
    endpoint: z.url().optional(),
    service: z.string().min(1).default('larder'),
    sample: z.number().min(0).max(1).default(1),
  })
  .prefault({});

const upstreams = z
  .strictObject({
    timeout: duration.prefault('15 s'),
    negative: duration.prefault('1 h'),
    allow_private: z.array(network).default([]),
  })
  .prefault({});

const keys = z.strictObject({ seal_key_file: z.string().optional() }).prefault({});

export const configSchema = z.strictObject({
  listen: listenAddress.prefault('127.0.0.1:8080'),
  processes: z.int().min(1).max(256).default(1),
  data: z.string().min(1).default('./larder-data'),
  public_url: z
    .url()
    .transform((url) => url.replace(/\/+$/, ''))
    .optional(),
  admin_token_file: z.string().min(1).optional(),
  log,
  storage: z.discriminatedUnion('engine', [diskStorage, s3Storage]).default({ engine: 'disk' }),
  database: z.discriminatedUnion('engine', [sqlite, postgresql]).default({ engine: 'sqlite' }),
  limits,
  timeouts,
  uploads,
  collection,
  upstreams,
  deltas,
  keys,
  rate_limits: rateLimits,
  reads,
  oidc,
  metrics,
  traces,
});

export type ParsedConfig = z.output<typeof configSchema>;
