import { gzipSync } from 'node:zlib';
import {
  type ArchiveRequest,
  archivesUrl,
  closureUrl,
  type DeltaOffer,
  deltasUrl,
  formatNarInfosRequest,
  type NarInfosRequest,
  narInfosUrl,
  parseDeltasResponse,
  parseNarInfos,
  type WantedDelta,
} from '@larder/signing/download';
import { type AnswerHead, header } from '../http/answer.js';
import { decodeBody } from '../http/content-encoding.js';
import type { HttpClient, HttpResponse, RequestOptions } from '../http/http-client.js';
import { HttpError } from '../http/http-error.js';
import type { LinkSpeed } from '../http/link-speed.js';

/** Bytes of a request from which on it pays to compress it. */
const packedFrom = 1024;

/** What a Larder server does for a cache beyond what every web server does. Made once the server said it is one. */
export class LarderApi {
  readonly #server: string;
  readonly #cache: string;
  readonly #http: HttpClient;

  /** `root` is the cache's URL: its last part is the cache's name, what is before it the server's address. */
  constructor(root: URL, http: HttpClient) {
    const parts = root.pathname.split('/').filter((part) => part !== '');
    this.#cache = decodeURIComponent(parts.pop() ?? '');
    this.#server = [root.origin, ...parts].join('/');
    this.#http = http;
  }

  /** How fast bodies come from it. */
  get speed(): LinkSpeed {
    return this.#http.speedOf(new URL(this.#server));
  }

  /**
   * Gives the narinfos asked for (and, for a closure, of all they refer to) to `onText` as they come, in any order; what
   * the cache lacks is left out. When the answer breaks off it is asked for anew, and `onText` hears some twice.
   * @throws HttpError, `narinfo-malformed`
   */
  async queryNarInfos(
    kind: 'closure' | 'narinfos',
    request: NarInfosRequest,
    { onText, signal }: { readonly onText: (text: string) => void; readonly signal?: AbortSignal },
  ): Promise<void> {
    const url = new URL((kind === 'closure' ? closureUrl : narInfosUrl)(this.#server, this.#cache));
    await this.#http.retry(async () => {
      const response = await this.#post(url, formatNarInfosRequest(request), signal);
      try {
        for await (const text of parseNarInfos(decodeBody(response, signal))) onText(text);
      } catch (error) {
        signal?.throwIfAborted();
        throw new HttpError('cache-unreachable', { method: 'POST', url, cause: error });
      }
    }, signal);
  }

  /** The deltas the server has or will have in time; it has begun to make the others. @throws HttpError */
  async queryDeltas(wanted: readonly WantedDelta[], signal?: AbortSignal): Promise<readonly DeltaOffer[]> {
    const url = new URL(deltasUrl(this.#server, this.#cache));
    return this.#http.retry(async () => {
      const response = await this.#post(url, JSON.stringify({ wanted }), signal);
      const chunks: Uint8Array[] = [];
      for await (const chunk of decodeBody(response, signal)) chunks.push(chunk);
      return parseDeltasResponse(JSON.parse(Buffer.concat(chunks).toString('utf8'))).offers;
    }, signal);
  }

  /** Many small archives in one answer (signing's archive-frames), tried once. @throws HttpError */
  async *openArchives(archives: readonly ArchiveRequest[], signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    const url = new URL(archivesUrl(this.#server, this.#cache));
    const response = await this.#http.requestOnce(url, {
      method: 'POST',
      ...packed(JSON.stringify({ archives })),
      signal,
    });
    try {
      yield* this.speed.watch(response.body);
    } catch (error) {
      signal?.throwIfAborted();
      throw new HttpError('cache-unreachable', { method: 'POST', url, cause: error });
    }
  }

  async #post(url: URL, text: string, signal: AbortSignal | undefined): Promise<HttpResponse> {
    const { headers, body } = packed(text);
    return this.#http.requestOnce(url, {
      method: 'POST',
      headers: { ...headers, 'accept-encoding': 'zstd' },
      body,
      pipelined: true,
      signal,
    });
  }
}

/** A request's JSON, compressed where it pays: hashes in base-32 are two fifths longer than they need be. */
function packed(text: string): Required<Pick<RequestOptions, 'headers' | 'body'>> {
  const packs = text.length >= packedFrom;
  return {
    headers: { 'content-type': 'application/json', ...(packs ? { 'content-encoding': 'gzip' } : {}) },
    body: () => (packs ? gzipSync(text) : text),
  };
}

/** Whether an answer comes from a server that speaks Larder's API. */
export function speaksLarder(response: AnswerHead): boolean {
  return header(response, 'larder-api') !== undefined;
}
