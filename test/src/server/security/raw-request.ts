import { Agent, type IncomingHttpHeaders, request } from 'node:http';
import { buffer } from 'node:stream/consumers';

export interface RawRequest {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
}

export interface RawAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

/** Sends paths as they are written: `fetch` would take `..` out of them. */
export class RawClient implements Disposable {
  readonly #base: URL;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 16 });

  constructor(url: string) {
    this.#base = new URL(url);
  }

  async send(path: string, { method = 'GET', headers = {}, body }: RawRequest = {}): Promise<RawAnswer> {
    const { hostname, port } = this.#base;
    const length = body === undefined ? {} : { 'content-length': `${Buffer.byteLength(body)}` };
    const options = { hostname, port, path, method, headers: { ...headers, ...length }, agent: this.#agent };
    return new Promise((resolve, reject) => {
      const sent = request(options, (answer) => {
        buffer(answer).then((bytes) => {
          resolve({
            status: answer.statusCode ?? 0,
            headers: answer.headers,
            text: bytes.toString('latin1'),
          });
        }, reject);
      });
      sent.on('error', reject);
      sent.end(body);
    });
  }

  [Symbol.dispose](): void {
    this.#agent.destroy();
  }
}
