import type { WritableCompression } from '@larder/signing/compression';
import { formatContentAddress } from '@larder/signing/content-address';
import { deltaPath, parseStoredDelta } from '@larder/signing/download';
import { LarderError } from '@larder/signing/errors';
import type { SecretKey } from '@larder/signing/key';
import type { NarWork } from '@larder/signing/nar-work';
import type { PathInfo } from '@larder/signing/path-info';
import { formatRealisation, type Realisation, realisationKey } from '@larder/signing/realisation';
import type { StoreDir, StorePath } from '@larder/signing/store-path';
import { signPathInfo } from '@larder/signing/trust';
import {
  type CacheDescription,
  type CommitPath,
  commitUrl,
  describeUrl,
  logUrl,
  MAX_BATCH_PATHS,
  missingUrl,
  narUrl,
  parseCacheDescription,
  parseErrorBody,
  parseMissingResponse,
} from '@larder/signing/upload';
import { bareHash } from '../copy/delta-plan.js';
import type { Destination, ReceiveOptions, Reception } from '../copy/destination.js';
import type { HttpClient, RequestOptions } from '../http/http-client.js';
import { HttpError, isTransientHttpError } from '../http/http-error.js';
import type { FoundPath } from '../source-set.js';
import type { PackedSource } from '../store.js';
import { packPath } from './pack-path.js';
import type { ArchivePair, SideFiles } from './side-files.js';

/** A cache on a Larder server. */
export interface LarderCache {
  /** `http://host:port`, without a slash at the end. */
  readonly server: string;
  readonly name: string;
  readonly description: CacheDescription;
}

/** NARs from this size on are asked for before they are sent, in bytes: a question costs a round trip. */
const askFirstSize = 1024 * 1024;

/**
 * The Larder cache behind a URL such as `http://host:8080/main`, or `undefined` if that is another kind of server.
 * @throws HttpError when nothing answers or the login is refused
 */
export async function describeLarderCache(
  url: URL,
  http: HttpClient,
  signal?: AbortSignal,
): Promise<LarderCache | undefined> {
  const parts = url.pathname.split('/').filter((part) => part !== '');
  const name = parts.pop();
  if (name === undefined) return undefined;
  const server = [url.origin, ...parts].join('/');
  const api = new URL(describeUrl(server, decodeURIComponent(name)));
  const file = await http.fetchSmall(api, {
    absent: [400, 403, 404, 405, 410, 501],
    limit: 1024 * 1024,
    signal,
  });
  if (file === undefined) return undefined;
  try {
    const description = parseCacheDescription(JSON.parse(Buffer.from(file).toString('utf8')));
    return { server, name: decodeURIComponent(name), description };
  } catch {
    return undefined; // A web server that has a page for everything.
  }
}

/**
 * Publishes by Larder's own API: one question for what is missing, NARs under their NarHash straight from the
 * source (no temporary file, since the name is known beforehand), and one commit a batch.
 */
export class LarderPublisher implements Destination, SideFiles {
  readonly checksTrust = false;
  readonly storeDir: StoreDir;
  readonly #cache: LarderCache;
  readonly #http: HttpClient;
  readonly #options: LarderPublisherOptions;

  constructor(cache: LarderCache, options: LarderPublisherOptions) {
    if (cache.description.storeDir !== options.storeDir.path) {
      throw new LarderError(
        'cache-store-dir-mismatch',
        `the cache ${cache.description.url} is for stores in ${cache.description.storeDir}, not ${options.storeDir.path}`,
      );
    }
    this.#cache = cache;
    this.#http = options.http;
    this.#options = options;
    this.storeDir = options.storeDir;
  }

  get uri(): string {
    return `${this.#cache.server}/${this.#cache.name}`;
  }

  async queryMissing(paths: readonly StorePath[], signal?: AbortSignal): Promise<ReadonlySet<StorePath>> {
    const missing = new Set<StorePath>();
    for (let at = 0; at < paths.length; at += MAX_BATCH_PATHS) {
      const url = missingUrl(this.#cache.server, this.#cache.name);
      const answer = await this.#post(url, { paths: paths.slice(at, at + MAX_BATCH_PATHS) }, signal);
      for (const path of parseMissingResponse(answer).missing) missing.add(path as StorePath);
    }
    return missing;
  }

  async receive(found: FoundPath, { onBytes, signal }: ReceiveOptions): Promise<Reception> {
    const { narSize } = found.info;
    const { work, compression, level } = this.#options;
    const pack = () => packPath(found, { work, compression: 'any', otherwise: compression, level, signal });
    let packed: PackedSource | undefined = pack();
    const narHash = found.info.narHash.format('nix32', { prefix: false });
    const nar = { narHash, narSize, compression: packed.compression };
    const url = new URL(narUrl(this.#cache.server, this.#cache.name, nar));
    if (narSize < askFirstSize || !(await this.#hasNar(url, signal))) {
      const body = () => {
        const { bytes } = packed ?? pack(); // A stream serves one try.
        packed = undefined;
        return bytes;
      };
      await this.#send(url, {
        method: 'PUT',
        body,
        headers: { 'content-type': 'application/x-nix-nar' },
        signal,
      });
    }
    onBytes(narSize);
    return 'received';
  }

  async commit(infos: readonly PathInfo[]): Promise<void> {
    for (let at = 0; at < infos.length; at += MAX_BATCH_PATHS) {
      const paths = infos
        .slice(at, at + MAX_BATCH_PATHS)
        .map((info) => commitPath(signPathInfo(info, this.#options.secretKeys, this.storeDir)));
      await this.#post(commitUrl(this.#cache.server, this.#cache.name), { paths });
    }
  }

  async putLog(derivation: StorePath, text: Uint8Array, signal?: AbortSignal): Promise<void> {
    const headers = { 'content-type': 'text/plain; charset=utf-8' };
    await this.#put(logUrl(this.#cache.server, this.#cache.name, derivation), { text, headers, signal });
  }

  async putRealisation(realisation: Realisation, signal?: AbortSignal): Promise<void> {
    const headers = { 'content-type': 'application/json' };
    const text = formatRealisation(realisation);
    await this.#put(`${this.uri}/${realisationKey(realisation.id)}`, { text, headers, signal });
  }

  async putDelta({ base, next }: ArchivePair, delta: Uint8Array, signal?: AbortSignal): Promise<boolean> {
    const url = new URL(`${this.uri}/${deltaPath(bareHash(base), bareHash(next))}`);
    const headers = { 'content-type': 'application/zstd' };
    return parseStoredDelta(await this.#send(url, { method: 'PUT', body: () => delta, headers, signal }));
  }

  /** The server collects NARs that no commit named. */
  async discard(): Promise<void> {}

  async close(): Promise<void> {}

  async #hasNar(url: URL, signal: AbortSignal): Promise<boolean> {
    const response = await this.#http.request(url, { method: 'HEAD', accept: [404], signal });
    await response.body.dump();
    return response.statusCode !== 404;
  }

  async #put(url: string, { text, ...options }: SmallUpload): Promise<void> {
    try {
      const request = { method: 'PUT', body: () => text, ...options } as const;
      const response = await this.#http.request(new URL(url), request);
      await response.body.dump();
    } catch (error) {
      throw asRefusal(error, this.uri);
    }
  }

  async #post(url: string, value: unknown, signal?: AbortSignal): Promise<unknown> {
    const text = JSON.stringify(value);
    const headers = { 'content-type': 'application/json' };
    return this.#send(new URL(url), { method: 'POST', body: () => text, headers, signal });
  }

  /** An exchange whose answer is JSON, tried again also when the answer breaks off. */
  async #send(url: URL, options: RequestOptions): Promise<unknown> {
    try {
      return await this.#http.retry(async () => {
        const response = await this.#http.requestOnce(url, options);
        try {
          return await response.body.json();
        } catch (error) {
          throw new HttpError('cache-unreachable', { method: options.method ?? 'GET', url, cause: error });
        }
      }, options.signal);
    } catch (error) {
      throw asRefusal(error, this.uri);
    }
  }
}

interface SmallUpload {
  readonly text: Uint8Array | string;
  readonly headers: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

export interface LarderPublisherOptions {
  readonly http: HttpClient;
  readonly work: NarWork;
  readonly storeDir: StoreDir;
  /** Of NARs that come from a store; one from a cache is sent as it is. How the server keeps them is its own choice. */
  readonly compression: WritableCompression;
  readonly level?: number;
  /** Keys that sign what is published, next to those of the server. */
  readonly secretKeys: readonly SecretKey[];
}

function commitPath(info: PathInfo): CommitPath {
  return {
    storePath: info.storePath,
    narHash: info.narHash.toString(),
    narSize: info.narSize,
    references: info.references,
    ...(info.deriver === undefined ? {} : { deriver: info.deriver }),
    ...(info.signatures.length === 0 ? {} : { signatures: info.signatures }),
    ...(info.ca === undefined ? {} : { ca: formatContentAddress(info.ca) }),
  };
}

/** The server's own words and code, where it said them. */
function asRefusal(error: unknown, uri: string): unknown {
  if (!(error instanceof HttpError) || error.body === undefined || isTransientHttpError(error)) return error;
  let stated: ReturnType<typeof parseErrorBody>;
  try {
    stated = parseErrorBody(JSON.parse(error.body));
  } catch {
    return error;
  }
  if (stated === undefined || error.code === 'cache-unauthorized') return error;
  return new LarderError(stated.code, `${uri} refuses: ${stated.message}`, { cause: error, fields: stated });
}
