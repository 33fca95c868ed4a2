import type { DeltasRequest, DeltasResponse, StoredDelta } from '@larder/signing/download';
import type {
  CacheDescription,
  CommitPath,
  CommitRequest,
  CommitResponse,
  ErrorBody,
  MissingRequest,
  MissingResponse,
  StoredNar,
} from '@larder/signing/upload';
import { z } from 'zod';

/**
 * The wire types of `@larder/signing/upload` for the OpenAPI document. The types tie them to what is parsed and sent; a test
 * compares them with real answers.
 */

const storePath = z.string().meta({ description: 'A base name: 32 characters, a dash and a name' });
const narHash = z.string().meta({ description: '`sha256:` and 52 characters of base-32' });
const bytes = z.int().min(0).meta({ description: 'Bytes' });

export const cacheDescription: z.ZodType<CacheDescription> = z
  .object({
    name: z.string(),
    public: z.boolean(),
    storeDir: z.string(),
    priority: z.int().meta({ description: 'Lower is asked first' }),
    publicKeys: z.array(z.string()).meta({ description: 'For `trusted-public-keys`' }),
    url: z.string().meta({ description: 'Where stock Nix finds the cache' }),
    retention: z
      .object({
        age: z.number().exactOptional().meta({ description: 'Seconds since it was last sent' }),
        unused: z.number().exactOptional().meta({ description: 'Seconds since it was last sent or fetched' }),
        size: bytes.exactOptional(),
        keepLast: z.int().exactOptional().meta({ description: 'Newest revisions of each pin that are kept' }),
      })
      .exactOptional()
      .meta({ description: 'A path goes when any of these limits says so and nothing keeps it' }),
    quota: bytes.exactOptional(),
    upstreams: z
      .array(z.object({ url: z.string(), publicKeys: z.array(z.string()) }))
      .exactOptional()
      .meta({ description: 'Caches it asks for what it does not have' }),
    signUpstream: z.boolean().exactOptional(),
  })
  .meta({ id: 'Cache' });

export const missingRequest: z.ZodType<MissingRequest> = z.object({ paths: z.array(storePath).readonly() });
export const missingResponse: z.ZodType<MissingResponse> = z.object({
  missing: z.array(storePath).readonly(),
});

export const storedNar: z.ZodType<StoredNar> = z
  .object({ narHash, narSize: bytes, fileSize: bytes })
  .meta({ id: 'StoredNar' });

const commitPath = z.object({
  storePath,
  narHash,
  narSize: bytes,
  references: z.array(storePath).readonly(),
  deriver: storePath.exactOptional(),
  system: z.string().exactOptional(),
  signatures: z.array(z.string()).readonly().exactOptional(),
  ca: z.string().meta({ description: '`fixed:r:sha256:…`, `text:sha256:…`' }).exactOptional(),
}) satisfies z.ZodType<CommitPath>;

export const commitRequest: z.ZodType<CommitRequest> = z.object({ paths: z.array(commitPath).readonly() });
export const commitResponse: z.ZodType<CommitResponse> = z.object({
  committed: z.int(),
  paths: z.array(z.object({ storePath, status: z.enum(['added', 'present', 'kept']) })).readonly(),
});

export const errorBody = z
  .object({
    error: z.looseObject({
      code: z.string().meta({ description: 'For programs' }),
      message: z.string(),
      requestId: z.string(),
    }),
  })
  .meta({ id: 'Error' }) satisfies z.ZodType<ErrorBody>;

export const narInfosRequest = z
  .object({
    hashParts: z.array(z.string()).readonly().meta({ description: '32 characters each' }),
    have: z
      .string()
      .exactOptional()
      .meta({ description: 'The first 8 characters of the hash part of each path not to be sent, joined' }),
  })
  .meta({ id: 'NarInfosRequest' });

const bareHash = z.string().meta({ description: '52 characters of base-32' });

export const deltasRequest = z
  .object({
    wanted: z.array(z.object({ narHash: bareHash, bases: z.array(bareHash).readonly() })).readonly(),
  })
  .meta({ id: 'DeltasRequest' }) satisfies z.ZodType<DeltasRequest>;

export const deltasResponse = z
  .object({
    offers: z
      .array(
        z.object({
          narHash: bareHash,
          base: bareHash,
          size: bytes.exactOptional(),
          seconds: z.number().min(0).exactOptional(),
        }),
      )
      .readonly(),
  })
  .meta({ id: 'DeltasResponse' }) satisfies z.ZodType<DeltasResponse>;

export const storedDelta = z
  .object({ kept: z.boolean() })
  .meta({ id: 'StoredDelta' }) satisfies z.ZodType<StoredDelta>;

export const archivesRequest = z
  .object({ archives: z.array(z.object({ narHash: bareHash, base: bareHash.exactOptional() })).readonly() })
  .meta({ id: 'ArchivesRequest' });
