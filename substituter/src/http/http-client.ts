import { Readable } from 'node:stream';
import { LarderError } from '@larder/signing/errors';
import { Agent, type Dispatcher } from 'undici';
import {
  type AnswerHead,
  header,
  isRedirect,
  isSuccess,
  longestErrorText,
  readShortText,
  refusal,
  unlessUnreachable,
} from './answer.js';
import { decodeContent } from './content-encoding.js';
import { Hedge } from './hedge.js';
import type { HttpClientOptions } from './http-client-options.js';
import { HttpError, isTransientHttpError, shownUrl } from './http-error.js';
import { LinkSpeed } from './link-speed.js';
import { withRetries } from './retry.js';
import { exchangeSmall, pipelinedRequest, type SmallAnswer } from './small-exchange.js';

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

/** A file, and who is to fetch it. */
export interface RemoteFile {
  readonly client: HttpClient;
  readonly url: URL;
}

/** Finds the very same file at another place. */
export type FindFile = () => Promise<RemoteFile | undefined>;

export interface SmallFileOptions {
  /** Statuses that mean the file is not there. */
  readonly absent: readonly number[];
  /** Bytes above which it counts as a mistake. */
  readonly limit: number;
  /** Sees the answer's headers, whatever its status. */
  readonly onAnswer?: (answer: AnswerHead) => void;
  /** Whom to ask in place of the same server when that is slow. */
  readonly elsewhere?: FindFile;
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
  readonly #speeds = new Map<string, LinkSpeed>();

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
      connections: Math.min(8, options.connections),
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
        hedge.run(async (isSecond, lost) => {
          const signals = options.signal === undefined ? [lost] : [options.signal, lost];
          const other = isSecond ? await options.elsewhere?.() : undefined;
          if (other === undefined)
            return this.#fetchSmallOnce(url, options, { signals, pipelined: !isSecond });
          const file = await other.client.#fetchSmallOnce(other.url, options, { signals, pipelined: true });
          // That another one has it not any more says nothing of whether this one has it.
          if (file === undefined) throw new HttpError('cache-refused', { method: 'GET', url: other.url });
          return file;
        }),
      options.signal,
    );
  }

  async #fetchSmallOnce(
    url: URL,
    options: SmallFileOptions,
    { signals, pipelined }: { readonly signals: readonly AbortSignal[]; readonly pipelined: boolean },
  ): Promise<Uint8Array | undefined> {
    const dispatcher = pipelined ? this.#pipelined : this.#bodies;
    const { answer, target } = await this.#follow(url, 'GET', {
      exchange: async (at) => {
        const headers = this.#headers(at, url, {});
        const exchange = { headers, pipelined, limit: options.limit, signals };
        return unlessUnreachable(exchangeSmall(dispatcher, at, exchange), {
          url: at,
          method: 'GET',
          signals,
        });
      },
      discard: async () => {},
    });
    options.onAnswer?.(answer);
    if (options.absent.includes(answer.statusCode)) return undefined;
    if (!isSuccess(answer.statusCode)) {
      const text = Buffer.from(answer.body.subarray(0, longestErrorText)).toString('utf8').trim();
      throw refusal(answer, { method: 'GET', url: target, body: text });
    }
    return decodeWhole(answer, { url: target, limit: options.limit, signals });
  }

  #hedgeOf({ origin }: URL): Hedge {
    let hedge = this.#hedges.get(origin);
    if (hedge === undefined) {
      hedge = new Hedge();
      this.#hedges.set(origin, hedge);
    }
    return hedge;
  }

  /** How fast bodies come from a server. */
  speedOf({ origin }: URL): LinkSpeed {
    let speed = this.#speeds.get(origin);
    if (speed === undefined) {
      speed = new LinkSpeed();
      this.#speeds.set(origin, speed);
    }
    return speed;
  }

  /** One exchange, tried once: for callers who try again in their own way. */
  async requestOnce(url: URL, options: RequestOptions = {}): Promise<HttpResponse> {
    const { answer, target } = await this.#follow(url, options.method ?? 'GET', {
      exchange: (at) => this.#exchange(at, url, options),
      discard: (response) => response.body.dump(),
    });
    await this.#checkStatus(answer, target, options);
    return answer;
  }

  /** Goes where answers redirect to; gives the last one, and where it came from. */
  async #follow<Answer extends AnswerHead>(
    url: URL,
    method: string,
    { exchange, discard }: Following<Answer>,
  ): Promise<{ readonly answer: Answer; readonly target: URL }> {
    let target = url;
    for (let redirects = 0; ; redirects++) {
      const answer = await exchange(target);
      const location = isRedirect(answer.statusCode) ? header(answer, 'location') : undefined;
      if (location === undefined) return { answer, target };
      await discard(answer);
      if (redirects >= mostRedirects || !URL.canParse(location, target.href)) {
        throw new HttpError('cache-refused', {
          method,
          url: target,
          status: answer.statusCode,
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
    const exchange = agent.request({
      origin: target.origin,
      path: `${target.pathname}${target.search}`,
      method,
      headers: this.#headers(target, first, options),
      body: toBody(options.body?.()),
      ...(options.pipelined === true ? pipelinedRequest : {}),
      signal: options.signal,
    });
    return unlessUnreachable(exchange, { method, url: target, signals: [options.signal] });
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
    if (isSuccess(status) || options.accept?.includes(status)) return;
    const body = await readShortText(response).catch(() => undefined);
    throw refusal(response, { method: options.method ?? 'GET', url, body });
  }
}

function toBody(body: Uint8Array | string | AsyncIterable<Uint8Array> | undefined) {
  if (body === undefined || typeof body === 'string' || body instanceof Uint8Array) return body;
  return Readable.from(body, { objectMode: false });
}

/** How redirects are followed: the exchange, and what to do with an answer that only points on. */
interface Following<Answer> {
  readonly exchange: (at: URL) => Promise<Answer>;
  readonly discard: (answer: Answer) => Promise<void>;
}

async function decodeWhole(
  answer: SmallAnswer,
  {
    url,
    limit,
    signals,
  }: { readonly url: URL; readonly limit: number; readonly signals: readonly AbortSignal[] },
): Promise<Uint8Array> {
  const coding = header(answer, 'content-encoding') ?? '';
  if (coding === '') return answer.body;
  const decode = async (): Promise<Uint8Array> => {
    const chunks: Uint8Array[] = [];
    let size = 0;
    for await (const chunk of decodeContent(Readable.from([answer.body]), coding)) {
      chunks.push(chunk);
      size += chunk.length;
      if (size > limit)
        throw new LarderError('cache-refused', `${shownUrl(url)} is longer than ${limit} bytes`);
    }
    return Buffer.concat(chunks);
  };
  return unlessUnreachable(decode(), { method: 'GET', url, signals });
}
