import { readFile } from 'node:fs/promises';
import { LarderError } from '@larder/signing/errors';
import { parseErrorBody } from '@larder/signing/upload';
import type { Command } from 'commander';
import { readCliEnvironment } from '../config.js';
import { usageError } from './command.js';

export interface ServerOptions {
  readonly server?: string;
  readonly tokenFile?: string;
}

/** Of a caller that does not wait for ever. */
export interface CallOptions extends ServerOptions {
  readonly signal?: AbortSignal;
}

/** Adds `--server` and `--token-file` to a verb that administers a server. */
export function addServerOptions(command: Command): Command {
  return command
    .option('--server <url>', 'the server, such as https://cache.example.org (LARDER_SERVER)')
    .option(
      '--token-file <file>',
      "a file with a token that may do this (LARDER_TOKEN_FILE); without it, the netrc file's",
    );
}

/** A server's HTTP API, as seen by the verbs that administer it. */
export class ServerApi {
  readonly #server: string;
  readonly #authorization: string | undefined;
  readonly #signal: AbortSignal | undefined;

  private constructor(server: string, authorization: string | undefined, signal?: AbortSignal) {
    this.#server = server;
    this.#authorization = authorization;
    this.#signal = signal;
  }

  /** @param server `https://host`, without a slash at the end */
  static of(server: string, token?: string): ServerApi {
    return new ServerApi(server, token === undefined ? undefined : `Bearer ${token}`);
  }

  static async open(options: CallOptions): Promise<ServerApi> {
    const environment = readCliEnvironment();
    const server = options.server ?? environment.server;
    const tokenFile = options.tokenFile ?? environment.tokenFile;
    if (server === undefined)
      throw usageError(
        'which server? Say it with --server URL, or in the environment variable LARDER_SERVER',
      );
    if (!/^https?:\/\//.test(server)) throw usageError(`--server ${server} is no http(s) URL`);
    const authorization =
      tokenFile === undefined
        ? await findLogin(server)
        : `Bearer ${(await readFile(tokenFile, 'utf8')).trim()}`;
    return new ServerApi(server.replace(/\/+$/, ''), authorization, options.signal);
  }

  /**
   * The server of a cache, which is named by itself (then `options` say where) or by its URL.
   * @returns the API, and the path of the cache in it
   */
  static async openCache(
    cache: string,
    options: CallOptions,
  ): Promise<{ readonly api: ServerApi; readonly path: string }> {
    const match = /^(https?:\/\/.+)\/([^/?#]+)\/?$/.exec(cache);
    if (match === null && cache.includes('/'))
      throw usageError(`'${cache}' is neither the name of a cache nor its URL`);
    const [, server, name = cache] = match ?? [];
    const api = await ServerApi.open(server === undefined ? options : { ...options, server });
    return { api, path: `caches/${encodeURIComponent(name)}` };
  }

  /**
   * Sends a request; gives the JSON of the answer, `undefined` when it has none.
   * @throws the server's own error, by its code
   */
  async call<T>(method: string, path: string, body?: unknown): Promise<T> {
    const url = `${this.#server}/api/v1/${path}`;
    const answer = await fetch(url, {
      method,
      headers: this.#authorization === undefined ? {} : { authorization: this.#authorization },
      ...(this.#signal === undefined ? {} : { signal: this.#signal }),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    const document = parseJson(text);
    if (answer.ok) return document as T;
    const error = parseErrorBody(document);
    if (error !== undefined) throw new LarderError(error.code, error.message);
    throw new LarderError('server-failed', `${method} ${url}: HTTP status ${answer.status}`);
  }
}

/** What `larder login` put into the netrc file for a server. */
async function findLogin(server: string): Promise<string | undefined> {
  const [{ loadSettings }, { readNetrc }] = await Promise.all([
    import('@larder/substituter/config'),
    import('@larder/substituter/settings/netrc'),
  ]);
  return readNetrc(loadSettings().get('netrc-file')).authorization(new URL(server));
}

function parseJson(text: string): unknown {
  try {
    return text === '' ? undefined : JSON.parse(text);
  } catch {
    return undefined;
  }
}
