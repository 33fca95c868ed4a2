import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import {
  createServer,
  request as httpRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';

/** What to do instead of answering rightly; returns whether it did something. */
export type Fault = (request: IncomingMessage, response: ServerResponse, body: Buffer | undefined) => boolean;

/** A web server over a cache in a directory that goes wrong as told. */
export interface FaultyCache extends AsyncDisposable {
  readonly url: string;
  /** `GET /x` for each request, in order, with the range asked for. */
  readonly requests: readonly string[];
}

export async function startFaultyCache(directory: string, fault: Fault): Promise<FaultyCache> {
  const requests: string[] = [];
  const server = createServer((request, response) => {
    const range = request.headers.range === undefined ? '' : ` ${request.headers.range}`;
    requests.push(`${request.method} ${request.url}${range}`);
    void readFile(join(directory, request.url!))
      .catch(() => undefined)
      .then((body) => {
        if (!fault(request, response, body)) answer(request, response, body);
      });
  });
  return listen(server, requests);
}

async function listen(server: Server, requests: readonly string[]): Promise<FaultyCache> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Answers as a good web server would, ranges included. */
export function answer(request: IncomingMessage, response: ServerResponse, body: Buffer | undefined): void {
  if (body === undefined) {
    response.writeHead(404).end();
    return;
  }
  const etag = '"one"';
  const start = /^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1];
  if (start === undefined || request.headers['if-range'] !== etag) {
    response.writeHead(200, { 'content-length': body.length, etag }).end(body);
    return;
  }
  const rest = body.subarray(Number(start));
  const range = `bytes ${start}-${body.length - 1}/${body.length}`;
  response.writeHead(206, { 'content-length': rest.length, 'content-range': range, etag }).end(rest);
}

/** Begins to answer and breaks the connection off after `size` bytes. */
export function breakOff(
  response: ServerResponse,
  body: Buffer,
  { size, headers = {} }: { readonly size: number; readonly headers?: Record<string, string> },
): void {
  response.writeHead(200, { 'content-length': body.length, ...headers });
  response.write(body.subarray(0, size), () => setTimeout(() => response.destroy(), 20));
}

/** A request with the answer that an honest server gave to it. */
export interface Exchange {
  readonly request: IncomingMessage;
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** What to do in place of handing the honest answer on; returns whether it did something. */
export type RelayFault = (exchange: Exchange, response: ServerResponse) => boolean;

/** A web server that asks another one (`http://host:port`) and hands its answers on, unless told to go wrong. */
export async function startFaultyRelay(origin: string, fault: RelayFault): Promise<FaultyCache> {
  const requests: string[] = [];
  const server = createServer((request, response) => {
    requests.push(`${request.method} ${request.url}`);
    askHonest(origin, request).then(
      (exchange) => {
        if (fault(exchange, response)) return;
        response.writeHead(exchange.status, exchange.headers).end(exchange.body);
      },
      () => response.destroy(),
    );
  });
  return listen(server, requests);
}

async function askHonest(origin: string, request: IncomingMessage): Promise<Exchange> {
  // Answers as they are, so that what is damaged is what the client reads.
  const { host: _host, ...own } = request.headers;
  const headers = { ...own, 'accept-encoding': 'identity' };
  const asked = httpRequest(`${origin}${request.url}`, { method: request.method, headers });
  asked.end(await buffer(request));
  const [answered] = (await once(asked, 'response')) as [IncomingMessage];
  const { 'transfer-encoding': _coding, connection: _connection, ...kept } = answered.headers;
  return { request, status: answered.statusCode!, headers: kept, body: await buffer(answered) };
}
