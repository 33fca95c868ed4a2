import type { Readable } from 'node:stream';
import { type NarInfo, parseNarInfo } from '@larder/signing/narinfo';
import { type StoreDir, storePathHashPart } from '@larder/signing/store-path';
import { checkTrust, TrustedKeys } from '@larder/signing/trust';
import { Agent, type Dispatcher, interceptors } from 'undici';
import type { Upstream } from '../caches/cache-options.js';
import { ServerError } from '../errors.js';

/** A narinfo has a few kilobytes; references make it more. */
const MAX_NARINFO = 2 ** 20;
/** What a cache answers that does not have it. */
const ABSENT: ReadonlySet<number> = new Set([403, 404, 410]);

/** A path as an upstream has it, its signature checked. */
export interface FoundUpstream {
  readonly info: NarInfo;
  readonly text: string;
  readonly narUrl: string;
}

/** Asks other caches over HTTP. */
export class UpstreamClient implements AsyncDisposable {
  readonly #agent: Agent;
  readonly #dispatcher: Dispatcher;

  /** @param timeout milliseconds to connect, to begin an answer, and of silence within one */
  constructor(timeout: number) {
    this.#agent = new Agent({
      connect: { timeout },
      headersTimeout: timeout,
      bodyTimeout: timeout,
      connections: 64,
    });
    this.#dispatcher = this.#agent.compose(
      interceptors.redirect({ maxRedirections: 5 }),
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
    const body = await this.#get(url);
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
  openNar(url: string): Promise<AsyncIterable<Uint8Array> | undefined> {
    return this.#get(url);
  }

  async #get(url: string): Promise<AsyncIterable<Uint8Array> | undefined> {
    let answer: Dispatcher.ResponseData;
    try {
      const { origin, pathname, search } = new URL(url);
      answer = await this.#dispatcher.request({ origin, path: pathname + search, method: 'GET' });
    } catch (error) {
      throw failed(url, error instanceof Error ? error.message : String(error), error);
    }
    if (answer.statusCode === 200) return guarded(answer.body, url);
    await answer.body.dump();
    if (ABSENT.has(answer.statusCode)) return undefined;
    throw failed(url, `HTTP status ${answer.statusCode}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#agent.destroy();
  }
}

async function* guarded(body: Readable, url: string): AsyncIterable<Uint8Array> {
  try {
    yield* body as AsyncIterable<Uint8Array>;
  } catch (error) {
    throw failed(url, error instanceof Error ? error.message : String(error), error);
  } finally {
    body.destroy();
  }
}

function failed(url: string, why: string, cause?: unknown): ServerError {
  return new ServerError('upstream-failed', `cannot fetch ${url}: ${why}`, { cause });
}
