/**
 * The wire types of Larder's own upload API, shared by the server that answers and the client that asks.
 * Everything here is plain JSON: hashes and store paths travel as strings and are parsed by whoever uses them.
 *
 * The protocol, for one batch of paths:
 *   1. `POST missingUrl`  which of these paths does the cache lack?
 *   2. `PUT narUrl`       each NAR, named by its NarHash and verified against it before the answer
 *   3. `POST commitUrl`   all the paths' metadata, published in one transaction or refused as a whole
 */
import { LarderError } from './errors.js';

/** Most paths in one `missing` or `commit` request; a client with more sends several. */
export const MAX_BATCH_PATHS = 100_000;

/** `POST …/missing`: base names (`<32 characters>-<name>`). */
export interface MissingRequest {
  readonly paths: readonly string[];
}

/** The subset of the request's paths that the cache does not serve, in the order asked. */
export interface MissingResponse {
  readonly missing: readonly string[];
}

/** Answer to `PUT …/nars/<narHash>`: what is stored now (status 201), or was already (200). */
export interface StoredNar {
  /** `sha256:<nix32>` of the uncompressed NAR. */
  readonly narHash: string;
  readonly narSize: number;
  /** Bytes the server keeps, after its own compression. */
  readonly fileSize: number;
}

/** One path of a commit. Store paths are base names; hashes are `sha256:<nix32>`. */
export interface CommitPath {
  readonly storePath: string;
  readonly narHash: string;
  readonly narSize: number;
  readonly references: readonly string[];
  readonly deriver?: string;
  readonly system?: string;
  /** `name:base64`, kept as given beside the signatures the cache adds. */
  readonly signatures?: readonly string[];
  /** `fixed:r:sha256:…`, `fixed:sha256:…` or `text:sha256:…`. */
  readonly ca?: string;
}

export interface CommitRequest {
  readonly paths: readonly CommitPath[];
}

/**
 * `added`: published by this commit; `present`: was there with the same contents (new signatures were merged);
 * `kept`: was there with other contents, which stay (a path never changes what it names).
 */
export type CommitStatus = 'added' | 'present' | 'kept';

export interface CommitResponse {
  /** How many paths this commit published. */
  readonly committed: number;
  readonly paths: readonly { readonly storePath: string; readonly status: CommitStatus }[];
}

/** How long a cache keeps paths; what is not there is no limit. */
export interface RetentionDescription {
  /** Seconds since it was last pushed. */
  readonly age?: number;
  /** Seconds since it was last pushed or fetched. */
  readonly unused?: number;
  /** Bytes that all NARs may have together, as stored. */
  readonly size?: number;
  /** Newest revisions of each pin that are kept. */
  readonly keepLast?: number;
}

/** `GET /api/v1/caches/<cache>`. */
export interface CacheDescription {
  readonly name: string;
  readonly public: boolean;
  readonly storeDir: string;
  readonly priority: number;
  /** `name:base64`, for `trusted-public-keys`. */
  readonly publicKeys: readonly string[];
  /** Where stock Nix finds the cache, without a slash at the end. */
  readonly url: string;
  readonly retention?: RetentionDescription;
  /** Most bytes of NARs it may hold, as stored. */
  readonly quota?: number;
  /** Caches it asks for what it does not have. */
  readonly upstreams?: readonly { readonly url: string; readonly publicKeys: readonly string[] }[];
  /** Whether it signs what comes from them. */
  readonly signUpstream?: boolean;
}

/** A path of a refused commit, and those of its references that neither the cache nor the commit has. */
export interface MissingReferences {
  readonly path: string;
  readonly references: readonly string[];
}

/** The body of every answer with an error status. `code` is a literal that programs can rely on. */
export interface ErrorBody {
  readonly error: {
    readonly code: string;
    readonly message: string;
    /** With `references-missing` (409). */
    readonly missing?: readonly MissingReferences[];
    /** With `nar-missing` (422): the NarHashes that were never uploaded. */
    readonly nars?: readonly string[];
    readonly [field: string]: unknown;
  };
}

/** `POST` a {@link MissingRequest} here. `server` is `http://host:port`, without a slash at the end. */
export function missingUrl(server: string, cache: string): string {
  return `${describeUrl(server, cache)}/missing`;
}

/** `PUT` or `HEAD` a NAR here; `narHash` is nix32 without a prefix, `compression` that of the body. */
export function narUrl(
  server: string,
  cache: string,
  nar: { readonly narHash: string; readonly narSize: number; readonly compression: string },
): string {
  const query = `compression=${encodeURIComponent(nar.compression)}&narSize=${nar.narSize}`;
  return `${describeUrl(server, cache)}/nars/${nar.narHash}?${query}`;
}

/** `POST` a {@link CommitRequest} here. */
export function commitUrl(server: string, cache: string): string {
  return `${describeUrl(server, cache)}/commit`;
}

/** `PUT` a build log (plain text) here; `derivation` is a base name that ends in `.drv`. */
export function logUrl(server: string, cache: string, derivation: string): string {
  return `${describeUrl(server, cache)}/logs/${encodeURIComponent(derivation)}`;
}

/** `GET` a {@link CacheDescription} here. */
export function describeUrl(server: string, cache: string): string {
  return `${server}/api/v1/caches/${encodeURIComponent(cache)}`;
}

/** @throws LarderError `upload-malformed` naming the field, as do all parsers below. */
export function parseMissingRequest(value: unknown): MissingRequest {
  const body = asObject(value, 'the request');
  return { paths: batch(strings(body.paths, 'paths'), 'paths') };
}

export function parseMissingResponse(value: unknown): MissingResponse {
  return { missing: strings(asObject(value, 'the answer').missing, 'missing') };
}

export function parseStoredNar(value: unknown): StoredNar {
  const body = asObject(value, 'the answer');
  return {
    narHash: asString(body.narHash, 'narHash'),
    narSize: asSize(body.narSize, 'narSize'),
    fileSize: asSize(body.fileSize, 'fileSize'),
  };
}

export function parseCommitRequest(value: unknown): CommitRequest {
  const paths = asArray(asObject(value, 'the request').paths, 'paths');
  return { paths: batch(paths, 'paths').map(parseCommitPath) };
}

function parseCommitPath(value: unknown, index: number): CommitPath {
  const at = `paths[${index}]`;
  const path = asObject(value, at);
  return {
    storePath: asString(path.storePath, `${at}.storePath`),
    narHash: asString(path.narHash, `${at}.narHash`),
    narSize: asSize(path.narSize, `${at}.narSize`),
    references: strings(path.references, `${at}.references`),
    ...optionalString(path, 'deriver', at),
    ...optionalString(path, 'system', at),
    ...optionalString(path, 'ca', at),
    ...(isAbsent(path.signatures) ? {} : { signatures: strings(path.signatures, `${at}.signatures`) }),
  };
}

const STATUSES: readonly string[] = ['added', 'present', 'kept'] satisfies CommitStatus[];

export function parseCommitResponse(value: unknown): CommitResponse {
  const body = asObject(value, 'the answer');
  const paths = asArray(body.paths, 'paths').map((entry, index) => {
    const path = asObject(entry, `paths[${index}]`);
    const status = asString(path.status, `paths[${index}].status`);
    if (!STATUSES.includes(status)) throw malformed(`paths[${index}].status`, STATUSES.join(', '));
    return {
      storePath: asString(path.storePath, `paths[${index}].storePath`),
      status: status as CommitStatus,
    };
  });
  return { committed: asSize(body.committed, 'committed'), paths };
}

export function parseCacheDescription(value: unknown): CacheDescription {
  const body = asObject(value, 'the answer');
  if (typeof body.public !== 'boolean') throw malformed('public', 'true or false');
  return {
    name: asString(body.name, 'name'),
    public: body.public,
    storeDir: asString(body.storeDir, 'storeDir'),
    priority: asSize(body.priority, 'priority'),
    publicKeys: strings(body.publicKeys, 'publicKeys'),
    url: asString(body.url, 'url'),
  };
}

/** The error of an answer with an error status; `undefined` where the body is not ours (a proxy's page, say). */
export function parseErrorBody(value: unknown): ErrorBody['error'] | undefined {
  if (typeof value !== 'object' || value === null || !('error' in value)) return undefined;
  const { error } = value;
  if (typeof error !== 'object' || error === null) return undefined;
  const { code, message } = error as Readonly<Record<string, unknown>>;
  if (typeof code !== 'string' || typeof message !== 'string') return undefined;
  return error as ErrorBody['error'];
}

export type JsonObject = Readonly<Record<string, unknown>>;

export function malformed(field: string, expected: string): LarderError<'upload-malformed'> {
  return new LarderError('upload-malformed', `upload API: ${field} must be ${expected}`, {
    fields: { field, expected },
  });
}

export function isAbsent(value: unknown): value is undefined | null {
  return value === undefined || value === null;
}

export function asObject(value: unknown, field: string): JsonObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw malformed(field, 'a JSON object');
  return value as JsonObject;
}

export function asArray(value: unknown, field: string): readonly unknown[] {
  if (!Array.isArray(value)) throw malformed(field, 'an array');
  return value;
}

export function asString(value: unknown, field: string): string {
  if (typeof value !== 'string') throw malformed(field, 'a string');
  return value;
}

/** Sizes and counts: JSON numbers are doubles, so anything beyond 2^53 would already be another number. */
export function asSize(value: unknown, field: string): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0)
    throw malformed(field, 'a whole number, zero or more');
  return value;
}

export function strings(value: unknown, field: string): readonly string[] {
  return asArray(value, field).map((entry, index) => asString(entry, `${field}[${index}]`));
}

export function batch<T>(items: readonly T[], field: string): readonly T[] {
  if (items.length > MAX_BATCH_PATHS) throw malformed(field, `at most ${MAX_BATCH_PATHS} long`);
  return items;
}

function optionalString<Key extends string>(
  object: JsonObject,
  key: Key,
  at: string,
): { [K in Key]?: string } {
  const value = object[key];
  return isAbsent(value) ? {} : ({ [key]: asString(value, `${at}.${key}`) } as { [K in Key]?: string });
}
