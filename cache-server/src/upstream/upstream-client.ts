import type { Readable } from 'node:stream';
import { type NarInfo, parseNarInfo } from '@larder/signing/narinfo';
import { type StoreDir, storePathHashPart } from '@larder/signing/store-path';
import { checkTrust, TrustedKeys } from '@larder/signing/trust';
import { type Agent, type Dispatcher, interceptors } from 'undici';
import type { Upstream } from '../caches/cache-options.js';
import { ServerError } from '../errors.js';
import { createReachingAgent, type ReachableAddresses } from './reachable.js';

/** A narinfo has a few kilobytes; references make it more. */
const MAX_NARINFO = 2 ** 20;
/** What a cache answers that does not have it. */
const ABSENT: ReadonlySet<number> = new Set([403, 404, 410]);
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);
const MAX_REDIRECTS = 5;

/** A path as an upstream has it, its signature checked. */
export interface FoundUpstream {
  readonly info: NarInfo;
  readonly text: string;
  readonly narUrl: string;
}

export type FetchedBody = AsyncIterable<Uint8Array> & AsyncDisposable;

export interface UpstreamClientOptions {
  /** Milliseconds to connect, to begin an answer, and of silence within one. */
  readonly timeout: number;
  readonly reachable: ReachableAddresses;
}

/**
 * Asks other caches over HTTP. Where an upstream is, where it redirects to and where it says that a NAR is, is not the operator's
 * choice: only what `reachable` has is connected to.
 */
export class UpstreamClient implements AsyncDisposable {
  readonly #agent: Agent;
  readonly #dispatcher: Dispatcher;

  constructor({ timeout, reachable }: UpstreamClientOptions) {
    this.#agent = createReachingAgent(reachable, { timeout });
    this.#dispatcher = this.#agent.compose(
      interceptors.retry({
        maxRetries: 2,
        minTimeout: 200,
        methods: ['GET'],
        statusCodes: [429, 502, 503, 504],
      }),
    );
  }

  /**
   * The path with a hash part, if the upstream has it.
   * @throws `upstream-failed` when it does not answer as a cache does; `signature-untrusted`, `narinfo-malformed`
   */
  async findPath(
    upstream: Upstream,
    hashPart: string,
    storeDir: StoreDir,
  ): Promise<FoundUpstream | undefined> {
    const url = `${upstream.url}/${hashPart}.narinfo`;
    await using body = await this.#get(url);
    if (body === undefined) return undefined;
    const chunks: Uint8Array[] = [];
    let size = 0;
    for await (const chunk of body) {
      size += chunk.length;
      if (size > MAX_NARINFO) throw failed(url, `its answer is larger than ${MAX_NARINFO} bytes`);
      chunks.push(chunk);
    }
    const text = Buffer.concat(chunks).toString('utf8');
    const info = parseNarInfo(text, storeDir, url);
    if (storePathHashPart(info.storePath) !== hashPart) throw failed(url, `it is about ${info.storePath}`);
    const trusted = TrustedKeys.parse(upstream.publicKeys);
    checkTrust(info, { storeDir, trusted, requireSignatures: true, source: upstream.url });
    return { info, text, narUrl: new URL(info.url, `${upstream.url}/`).href };
  }

  /** The bytes of a NAR as the upstream keeps it; `undefined` when it has it no more. @throws `upstream-failed` */
  openNar(url: string): Promise<FetchedBody | undefined> {
    return this.#get(url);
  }

  async #get(url: string): Promise<FetchedBody | undefined> {
    let at = new URL(url);
    for (let redirects = 0; ; redirects++) {
      const answer = await this.#request(at, url);
      if (answer.statusCode === 200) return guarded(answer.body, url);
      await answer.body.dump();
      if (ABSENT.has(answer.statusCode)) return undefined;
      const { location } = answer.headers;
      if (!REDIRECTS.has(answer.statusCode) || typeof location !== 'string')
        throw failed(url, `HTTP status ${answer.statusCode}`);
      if (redirects === MAX_REDIRECTS) throw failed(url, `more than ${MAX_REDIRECTS} redirects`);
      if (!URL.canParse(location, at.href))
        throw failed(url, `it redirects to '${location}', which is no URL`);
      at = new URL(location, at);
    }
  }

  /** Nothing goes along but the path: neither credentials nor what a URL before it had. */
  async #request({ protocol, origin, pathname, search }: URL, url: string): Promise<Dispatcher.ResponseData> {
    if (protocol !== 'http:' && protocol !== 'https:')
      throw failed(url, `it leads to ${protocol}, and upstreams are read over HTTP`);
    try {
      return await this.#dispatcher.request({ origin, path: pathname + search, method: 'GET' });
    } catch (error) {
      throw failed(url, reasonOf(error), error);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#agent.destroy();
  }
}

/** A body under way. It holds a connection until it is read, or disposed of. */
function guarded(body: Readable, url: string): FetchedBody {
  // Whoever reads hears of what goes wrong; where nobody does it is no matter.
  body.on('error', () => undefined);
  return {
    async *[Symbol.asyncIterator]() {
      try {
        yield* body as AsyncIterable<Uint8Array>;
      } catch (error) {
        throw failed(url, reasonOf(error), error);
      } finally {
        body.destroy();
      }
    },
    async [Symbol.asyncDispose]() {
      body.destroy();
    },
  };
}

/** The first of what went wrong, where a name has several addresses. */
function reasonOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return reasonOf(error.errors[0]);
  return error instanceof Error ? error.message : String(error);
}

function failed(url: string, why: string, cause?: unknown): ServerError {
  return new ServerError('upstream-failed', `cannot fetch ${url}: ${why}`, { cause });
}
