import { readFile, writeFile } from 'node:fs/promises';
import { type NewToken, registerToken } from '@larder/cache-server/auth/token';
import { loadConfig, type ServerConfig } from '@larder/cache-server/config';
import { openFoundation, type RunningServer, startServer } from '@larder/cache-server/start';
import { pino } from 'pino';
import { makeScratch, type Scratch } from '../engines/scratch.js';
import { defaultStoreDir } from '../store-dir.js';

const silent = pino({ level: 'silent' });

export interface TestServerOptions {
  /** More of larder.toml. */
  readonly toml?: string;
  /** An existing data directory, to start on again. */
  readonly scratch?: Scratch;
  /** For a server that makes no token of its own: a replica. */
  readonly token?: string;
}

interface Place {
  readonly config: ServerConfig;
  readonly scratch: Scratch;
  readonly token: string;
  readonly ownsScratch: boolean;
}

/** A server in this process, on a free port, with a client that has the admin token. */
export class TestServer implements AsyncDisposable {
  readonly running: RunningServer;
  readonly config: ServerConfig;
  readonly scratch: Scratch;
  readonly token: string;
  readonly #ownsScratch: boolean;

  private constructor(running: RunningServer, place: Place) {
    this.running = running;
    this.config = place.config;
    this.scratch = place.scratch;
    this.token = place.token;
    this.#ownsScratch = place.ownsScratch;
  }

  static async start({ toml = '', scratch, ...options }: TestServerOptions = {}): Promise<TestServer> {
    const place = scratch ?? (await makeScratch('server'));
    const file = place.join('larder.toml');
    await writeFile(file, toml);
    const config = await loadConfig({
      file,
      environment: {},
      overrides: { listen: '127.0.0.1:0', data: place.join('data') },
    });
    const running = await startServer(config, silent);
    const token = options.token ?? (await readFile(place.join('data/admin-token'), 'utf8')).trim();
    const ownsScratch = scratch === undefined;
    return new TestServer(running, { config, scratch: place, token, ownsScratch });
  }

  get url(): string {
    return this.running.url;
  }

  /** A path of the server, with the admin token unless `headers` says otherwise. */
  fetch(path: string, init: RequestInit = {}): Promise<Response> {
    const headers = { authorization: `Bearer ${this.token}`, ...(init.headers as Record<string, string>) };
    return fetch(`${this.url}${path}`, { ...init, headers });
  }

  put(
    path: string,
    body: NonNullable<RequestInit['body']>,
    headers: Record<string, string> = {},
  ): Promise<Response> {
    return this.fetch(path, { method: 'PUT', body, headers });
  }

  post(path: string, body: unknown): Promise<Response> {
    return this.fetch(path, { method: 'POST', body: JSON.stringify(body) });
  }

  /** Makes a token known, behind the server's back. */
  async addToken(text: string, token: NewToken): Promise<void> {
    await using foundation = await openFoundation(this.config, silent);
    await registerToken(foundation.database, text, token);
  }

  /** Makes a cache, behind the server's back. */
  async addCache(cache: { readonly name: string; readonly public: boolean }): Promise<void> {
    await using foundation = await openFoundation(this.config, silent);
    await foundation.caches.create({ ...cache, storeDir: defaultStoreDir });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.running.close();
    if (this.#ownsScratch) await this.scratch[Symbol.asyncDispose]();
  }
}

/** The `code` of an error answer, after checking its status. */
export async function errorOf(
  answer: Response,
): Promise<{ readonly status: number; readonly code: string } & Record<string, unknown>> {
  const { error } = (await answer.json()) as { error: { code: string } };
  return { ...error, status: answer.status };
}
