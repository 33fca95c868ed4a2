import { LarderError } from '@larder/signing/errors';
import type { HttpClient, RemoteFile } from '../http/http-client.js';
import { HttpError } from '../http/http-error.js';
import { openResumable } from '../http/resumable-body.js';
import type { ReadOptions } from '../store.js';
import type { CacheFiles, FileContents, WriteOptions } from './cache-files.js';
import { LarderApi, speaksLarder } from './larder-api.js';

/** Answers that mean "not here": buckets without listing rights say 403 for what is not there. */
const absent = [403, 404, 410];

/** No narinfo, listing or realisation is larger than this, in bytes. */
const longestSmallFile = 64 * 1024 * 1024;

/** A cache behind a web server, as stock Nix reads and writes it. */
export class HttpCacheFiles implements CacheFiles {
  readonly uri: string;
  readonly #root: URL;
  readonly #client: HttpClient;
  larder: LarderApi | undefined;

  /** `root` ends in a slash. The client is the caller's to close. */
  constructor(uri: string, root: URL, client: HttpClient) {
    this.uri = uri;
    this.#root = root;
    this.#client = client;
  }

  async read(name: string, { signal, elsewhere }: ReadOptions = {}): Promise<Uint8Array | undefined> {
    const asksWhoItIs = name === 'nix-cache-info';
    return this.#client.fetchSmall(this.#url(name), {
      absent,
      limit: longestSmallFile,
      onAnswer: (response) => {
        if (asksWhoItIs && speaksLarder(response)) this.larder = new LarderApi(this.#root, this.#client);
      },
      elsewhere,
      signal,
    });
  }

  locate(name: string): RemoteFile {
    return { client: this.#client, url: this.#url(name) };
  }

  async *open(
    name: string,
    { signal, elsewhere }: ReadOptions = {},
  ): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      yield* openResumable(this.#client, this.#url(name), { signal, elsewhere });
    } catch (error) {
      if (error instanceof HttpError && absent.includes(error.status ?? 0)) {
        throw new LarderError('cache-file-missing', `${this.uri} has no file ${name}`, {
          cause: error,
          fields: { cache: this.uri, file: name },
        });
      }
      throw error;
    }
  }

  async exists(name: string, { signal }: ReadOptions = {}): Promise<boolean> {
    // A connection ends with a HEAD (undici trusts no server to keep the body to itself), so where the file is
    // a few hundred bytes it costs less to get it.
    if (name.endsWith('.narinfo')) return (await this.read(name, { signal })) !== undefined;
    const response = await this.#client.request(this.#url(name), {
      method: 'HEAD',
      accept: absent,
      signal,
    });
    await response.body.dump();
    return !absent.includes(response.statusCode);
  }

  async write(name: string, contents: FileContents, options: WriteOptions): Promise<void> {
    const response = await this.#client.request(this.#url(name), {
      method: 'PUT',
      headers: {
        'content-type': options.contentType,
        'content-length': String(contents.size),
        ...(options.contentEncoding === undefined ? {} : { 'content-encoding': options.contentEncoding }),
      },
      body: () => contents.open(),
      accept: [304],
      signal: options.signal,
    });
    await response.body.dump();
  }

  async close(): Promise<void> {}

  /** Names come from narinfos, which may say another server, or a query. */
  #url(name: string): URL {
    return new URL(name, this.#root);
  }
}
