import { readFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { LarderError } from '@larder/signing/errors';
import { Agent, type Dispatcher } from 'undici';
import { type Netrc, readNetrc } from '../settings/netrc.js';
import type { Settings } from '../settings/settings.js';
import { decodeBody } from './content-encoding.js';
import { Hedge } from './hedge.js';
import { HttpError, isTransientHttpError, shownUrl, statusErrorCode } from './http-error.js';
import { parseRetryAfter, withRetries } from './retry.js';

export interface HttpClientOptions {
  readonly netrc: Netrc;
  /** Connections to each server at most. */
  readonly connections: number;
  /** Milliseconds to wait for a connection. */
  readonly connectTimeout: number;
  /** Milliseconds without a byte after which a transfer counts as broken. */
  readonly stallTimeout: number;
  readonly attempts: number;
  readonly userAgent: string;
  /** PEM certificates to trust instead of Node's own. */
  readonly certificates?: string;
  /** `Authorization` for every request, before the netrc file. */
  readonly authorization?: string;
  readonly onRetry?: (error: unknown, delay: number) => void;
}

/** Where settings say nothing: Nix leaves it to curl, which waits five minutes. */
const defaultConnectTimeout = 15_000;

export function httpClientOptions(settings: Settings): HttpClientOptions {
  const certificateFile = settings.get('ssl-cert-file');
  const suffix = settings.get('user-agent-suffix');
  return {
    netrc: readNetrc(settings.get('netrc-file')),
    connections: settings.get('http-connections') || 25,
    connectTimeout: settings.get('connect-timeout') * 1000 || defaultConnectTimeout,
    stallTimeout: settings.get('stalled-download-timeout') * 1000,
    attempts: Math.max(1, settings.get('download-attempts')),
    userAgent: `larder${suffix === '' ? '' : ` ${suffix}`}`,
    certificates: certificateFile === '' ? undefined : readFileSync(certificateFile, 'utf8'),
  };
}

export interface RequestOptions {
  readonly method?: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE';
  readonly headers?: Readonly<Record<string, string>>;
  /** The body, made anew for each try. */
  readonly body?: () => Uint8Array | string | AsyncIterable<Uint8Array>;
  /** A short exchange, which may share a connection with others under way. */
  readonly pipelined?: boolean;
  /** Statuses that are an answer rather than an error. */
  readonly accept?: readonly number[];
  readonly signal?: AbortSignal;
}

export interface SmallFileOptions {
  /** Statuses that mean the file is not there. */
  readonly absent: readonly number[];
  /** Bytes above which it counts as a mistake. */
  readonly limit: number;
  /** Sees the answer's headers, whatever its status. */
  readonly onAnswer?: (response: HttpResponse) => void;
  readonly signal?: AbortSignal;
}

export type HttpResponse = Dispatcher.ResponseData;

/** How often a redirect is followed. */
const mostRedirects = 10;

/** How many short requests share a connection at a time: narinfos cost a round trip together, not each. */
const pipelineDepth = 16;

/**
 * Speaks HTTP to caches: a pool of kept connections a server, tries again what may work later, follows
 * redirects, and logs in from the netrc file.
 */
export class HttpClient {
  readonly #options: HttpClientOptions;
  readonly #bodies: Agent;
  readonly #pipelined: Agent;
  /** By server. */
  readonly #hedges = new Map<string, Hedge>();

  constructor(options: HttpClientOptions) {
    this.#options = options;
    const common = {
      keepAliveTimeout: 30_000,
      headersTimeout: options.stallTimeout,
      bodyTimeout: options.stallTimeout,
      connect: { timeout: options.connectTimeout, ca: options.certificates },
    };
    this.#bodies = new Agent({ ...common, connections: options.connections, pipelining: 1 });
    this.#pipelined = new Agent({
      ...common,
      connections: Math.min(4, options.connections),
      pipelining: pipelineDepth,
    });
  }

  async close(): Promise<void> {
    await Promise.all([this.#bodies.destroy(), this.#pipelined.destroy()]);
  }

  get attempts(): number {
    return this.#options.attempts;
  }

  /**
   * One exchange, tried again while that may help. The caller must read or dump the body.
   * @throws HttpError for every status that is neither 2xx nor in `accept`
   */
  async request(url: URL, options: RequestOptions = {}): Promise<HttpResponse> {
    return this.retry(() => this.requestOnce(url, options), options.signal);
  }

  /** Runs `attempt` as often as the settings say while it fails with an HttpError that may pass. */
  async retry<T>(attempt: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    return withRetries(attempt, {
      attempts: this.#options.attempts,
      isTransient: isTransientHttpError,
      askedDelay: (error) => (error as HttpError).retryAfter,
      onRetry: this.#options.onRetry,
      signal,
    });
  }

  /** A short file whole, or `undefined` for a status in `absent`; tried again also when it breaks off. */
  async fetchSmall(url: URL, options: SmallFileOptions): Promise<Uint8Array | undefined> {
    const hedge = this.#hedgeOf(url);
    return this.retry(
      () =>
        hedge.run((isSecond, lost) => {
          const signal = options.signal === undefined ? lost : AbortSignal.any([options.signal, lost]);
          return this.#fetchSmallOnce(url, { ...options, signal }, !isSecond);
        }),
      options.signal,
    );
  }

  async #fetchSmallOnce(
    url: URL,
    options: SmallFileOptions,
    pipelined: boolean,
  ): Promise<Uint8Array | undefined> {
    const response = await this.requestOnce(url, {
      pipelined,
      accept: options.absent,
      signal: options.signal,
    });
    options.onAnswer?.(response);
    if (options.absent.includes(response.statusCode)) {
      await response.body.dump();
      return undefined;
    }
    return readSmallBody(response, url, options);
  }

  #hedgeOf({ origin }: URL): Hedge {
    let hedge = this.#hedges.get(origin);
    if (hedge === undefined) {
      hedge = new Hedge();
      this.#hedges.set(origin, hedge);
    }
    return hedge;
  }

  /** One exchange, tried once: for callers who try again in their own way. */
  async requestOnce(url: URL, options: RequestOptions = {}): Promise<HttpResponse> {
    let target = url;
    for (let redirects = 0; ; redirects++) {
      const response = await this.#exchange(target, url, options);
      const location = isRedirect(response.statusCode) ? header(response, 'location') : undefined;
      if (location === undefined) {
        await this.#checkStatus(response, target, options);
        return response;
      }
      await response.body.dump();
      if (redirects >= mostRedirects || !URL.canParse(location, target.href)) {
        throw new HttpError('cache-refused', {
          method: options.method ?? 'GET',
          url: target,
          status: response.statusCode,
          body: `too many or broken redirects, the last to ${location}`,
        });
      }
      target = new URL(location, target);
    }
  }

  /** Announces a retry that a caller makes by itself. */
  noteRetry(error: unknown, delay: number): void {
    this.#options.onRetry?.(error, delay);
  }

  async #exchange(target: URL, first: URL, options: RequestOptions): Promise<HttpResponse> {
    const method = options.method ?? 'GET';
    const agent = options.pipelined === true ? this.#pipelined : this.#bodies;
    try {
      return await agent.request({
        origin: target.origin,
        path: `${target.pathname}${target.search}`,
        method,
        headers: this.#headers(target, first, options),
        body: toBody(options.body?.()),
        // What is short may be repeated, so it need not wait for the connection to be idle.
        ...(options.pipelined === true ? { idempotent: true } : {}),
        signal: options.signal,
      });
    } catch (error) {
      options.signal?.throwIfAborted();
      if (error instanceof LarderError) throw error; // Ours, from making the body.
      throw new HttpError('cache-unreachable', { method, url: target, cause: error });
    }
  }

  #headers(target: URL, first: URL, options: RequestOptions): Record<string, string> {
    // A token for one server is not for whom it redirects to; the netrc file names its hosts itself.
    const own = target.origin === first.origin ? this.#options.authorization : undefined;
    const authorization = own ?? this.#options.netrc.authorization(target);
    return {
      'user-agent': this.#options.userAgent,
      ...(authorization === undefined ? {} : { authorization }),
      ...options.headers,
    };
  }

  async #checkStatus(response: HttpResponse, url: URL, options: RequestOptions): Promise<void> {
    const status = response.statusCode;
    if ((status >= 200 && status < 300) || options.accept?.includes(status)) return;
    const body = await readShortText(response).catch(() => undefined);
    throw new HttpError(statusErrorCode(status), {
      method: options.method ?? 'GET',
      url,
      status,
      retryAfter: parseRetryAfter(header(response, 'retry-after')),
      body,
    });
  }
}

export function header(response: HttpResponse, name: string): string | undefined {
  const value = response.headers[name];
  return Array.isArray(value) ? value[0] : value;
}

function isRedirect(status: number): boolean {
  return status === 301 || status === 302 || status === 303 || status === 307 || status === 308;
}

function toBody(body: Uint8Array | string | AsyncIterable<Uint8Array> | undefined) {
  if (body === undefined || typeof body === 'string' || body instanceof Uint8Array) return body;
  return Readable.from(body, { objectMode: false });
}

async function readSmallBody(
  response: HttpResponse,
  url: URL,
  options: SmallFileOptions,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const chunk of decodeBody(response, options.signal)) {
      chunks.push(chunk);
      size += chunk.length;
      if (size > options.limit) {
        throw new LarderError('cache-refused', `${shownUrl(url)} is longer than ${options.limit} bytes`);
      }
    }
  } catch (error) {
    options.signal?.throwIfAborted();
    if (error instanceof LarderError) throw error;
    throw new HttpError('cache-unreachable', { method: 'GET', url, cause: error });
  }
  return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
}

/** At most this much of an error page is kept, in bytes. */
const longestErrorText = 64 * 1024;

async function readShortText(response: HttpResponse): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
    size += chunk.length;
    if (size > longestErrorText) break;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8').trim();
}
