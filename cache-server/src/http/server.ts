import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { getRequestListener, type HttpBindings } from '@hono/node-server';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import type { ServerConfig } from '../config.js';
import { createApp } from './app.js';
import { quickNarInfos } from './quick-narinfos.js';
import { accountRequests } from './request-account.js';
import { beginRecord } from './request-record.js';
import type { Services } from './services.js';

/** How long requests that were cut off may take to tidy up, in milliseconds. */
const TIDYING = 5000;

/** A server that takes requests. */
export interface HttpServer {
  /** `http://host:port`, as bound. */
  readonly url: string;
  /** Takes no new connections, lets requests in flight finish, and ends those that outlast the deadline (ms). */
  close(deadline: number): Promise<void>;
}

/** Binds the server. @throws what listening throws, such as EADDRINUSE */
export async function listen(services: Services): Promise<HttpServer> {
  const { config, traces, isStopping } = services;
  const app = createApp(services);
  // It puts a light Response in the place of the global one: that alone halves the cost of a small answer.
  const listener = getRequestListener(answerHeads(app.fetch as Fetch));
  const account = accountRequests(services);
  const quickly = traces === undefined ? quickNarInfos(services, account) : () => false;
  const running = new Set<Promise<void>>();
  const server = createServer(serverOptions(config), (incoming, outgoing) => {
    // Told to stop: this connection's next request goes to another replica.
    if (isStopping()) outgoing.shouldKeepAlive = false;
    if (quickly(incoming, outgoing)) return;
    const record = beginRecord(incoming);
    outgoing.setHeader('X-Request-Id', record.id);
    outgoing.once('close', () => account({ incoming, outgoing, record }));
    const answer = () => listener(incoming, outgoing);
    const answering =
      traces === undefined ? answer() : traces.request({ incoming, outgoing, record }, answer);
    const handling = answering.finally(() => running.delete(handling));
    running.add(handling);
  });
  // Silence ends a connection, not length: a slow link may take hours over a NAR. Uploads watch their own (body.ts).
  server.timeout = config.timeouts.idle;
  server.requestTimeout = 0;
  await bind(server, config);
  return {
    url: urlOf(server, config),
    async close(deadline) {
      await close(server, deadline);
      // What was cut off still tidies up after itself.
      await Promise.race([Promise.allSettled(running), delay(TIDYING, undefined, { ref: false })]);
    },
  };
}

type Fetch = Parameters<typeof getRequestListener>[0];

/** Hono makes a new answer of what answers a HEAD; where that was sent already, it must not be sent again. */
function answerHeads(fetch: Fetch): Fetch {
  return (request, environment) => {
    const answer = fetch(request, environment);
    const { incoming, outgoing } = environment as HttpBindings;
    if (incoming.method !== 'HEAD') return answer;
    return Promise.resolve(answer).then((made: unknown) =>
      outgoing.headersSent ? RESPONSE_ALREADY_SENT : made,
    );
  };
}

function serverOptions(config: ServerConfig): Parameters<typeof createServer>[0] {
  return {
    maxHeaderSize: config.limits.headers,
    headersTimeout: config.timeouts.headers,
    keepAliveTimeout: config.timeouts.keep_alive,
    connectionsCheckingInterval: Math.min(config.timeouts.headers, 5000),
    noDelay: true,
    // Finds out about clients that vanished without a word.
    keepAlive: true,
  };
}

async function bind(server: Server, { listen: { host, port } }: ServerConfig): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

function urlOf(server: Server, { listen: { host } }: ServerConfig): string {
  const { port } = server.address() as AddressInfo;
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

async function close(server: Server, deadline: number): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeIdleConnections();
  // Connections fall idle as their requests finish.
  const sweep = setInterval(() => server.closeIdleConnections(), 100);
  const force = setTimeout(() => server.closeAllConnections(), deadline);
  try {
    await closed;
  } finally {
    clearInterval(sweep);
    clearTimeout(force);
  }
}
