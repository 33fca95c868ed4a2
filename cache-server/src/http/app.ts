import { Hono } from 'hono';
import { isServerAdmin, readCredentials } from '../auth/access.js';
import { hashToken, type Token } from '../auth/token.js';
import { ServerError } from '../errors.js';
import { sendErrorPage } from '../web/error-page.js';
import { webRoutes } from '../web/web-routes.js';
import { cacheListRoutes, cacheRoutes } from './cache-routes.js';
import { closureRoutes } from './closure-routes.js';
import { collectionRoutes } from './collection-routes.js';
import { deltaRoutes } from './delta-routes.js';
import { documentRoutes } from './document-routes.js';
import { describeError } from './errors.js';
import { healthRoutes } from './health-routes.js';
import { metricsRoutes } from './metrics-routes.js';
import { oidcRoutes } from './oidc-routes.js';
import { templateOf } from './path-parameters.js';
import { pinRoutes } from './pin-routes.js';
import { createRateLimits, type RateLimits } from './rate-limits.js';
import { readRoutes } from './read-routes.js';
import { recordOf } from './request-record.js';
import type { CacheRoute, OpenRoute, Route, RouteContext, RouteEnvironment, ServerRoute } from './route.js';
import { serveRoutes } from './serve-routes.js';
import type { Services } from './services.js';
import { stockRoutes } from './stock-routes.js';
import { tokenRoutes } from './token-routes.js';
import { uploadRoutes } from './upload-routes.js';

/** Every route of the server, with who may use it. */
export function allRoutes(services: Services): Route[] {
  return [
    ...healthRoutes(services),
    ...metricsRoutes(services),
    ...documentRoutes(() => allRoutes(services)),
    ...cacheListRoutes(services),
    ...cacheRoutes(services),
    ...pinRoutes(services),
    ...collectionRoutes(services),
    ...tokenRoutes(services),
    ...oidcRoutes(services),
    ...uploadRoutes(services),
    ...closureRoutes(services),
    ...deltaRoutes(services),
    ...readRoutes(services),
    ...serveRoutes(services),
    ...stockRoutes(services),
    ...webRoutes(services),
  ];
}

/** The server's routes as one Hono application. Access is checked here and nowhere else. */
export function createApp(services: Services): Hono<RouteEnvironment> {
  const app = new Hono<RouteEnvironment>({ strict: true });
  const limits = createRateLimits(services.config);
  for (const route of allRoutes(services)) {
    app.on(route.method, route.path, noted(limits, route, releasing(route, handlerOf(services, route))));
  }
  app.notFound((context) => {
    throw new ServerError('not-found', `there is no ${context.req.method} ${context.req.path}`);
  });
  app.onError((error, context) => {
    const record = recordOf(context.env.incoming);
    record.error = error;
    // Too late to say anything: the connection ends instead, so that nobody takes half for the whole.
    if (context.env.outgoing.headersSent) {
      context.env.outgoing.destroy();
      return context.body(null);
    }
    if (record.isPage) return sendErrorPage(context, services, { error, requestId: record.id });
    const { status, headers, body } = describeError(error, record.id);
    return context.json(body, status, { ...headers, 'Cache-Control': 'no-store' });
  });
  return app;
}

type Handler = (context: RouteContext) => Response | Promise<Response>;

/** A body that was read whole takes memory while it is worked on, but not while its answer goes out, however slowly. */
function releasing(route: Route, handle: Handler): Handler {
  if (route.method === 'GET' || route.method === 'HEAD') return handle;
  return async (context) => {
    try {
      return await handle(context);
    } finally {
      recordOf(context.env.incoming).body?.release();
    }
  };
}

/** Notes which route took a request, and counts it against the limits: those of health and metrics never run out. */
function noted(limits: RateLimits | undefined, route: Route, handle: Handler): Handler {
  const note = {
    template: templateOf(route.path),
    isLookup: route.about.group === 'reading' && typeof route.access !== 'string',
  };
  if (limits === undefined || route.about.group === 'operations')
    return (context) => {
      recordOf(context.env.incoming).route = note;
      return handle(context);
    };
  return async (context) => {
    const { incoming, outgoing } = context.env;
    recordOf(incoming).route = note;
    const credentials = readCredentials(incoming.headers.authorization);
    // Whoever makes up tokens is still at an address.
    await limits.address(incoming, outgoing);
    if (credentials !== undefined) await limits.token(hashToken(credentials), outgoing);
    return handle(context);
  };
}

function handlerOf(services: Services, route: Route): Handler {
  if (route.access === 'open')
    return (context) => {
      if (route.isPage === true) recordOf(context.env.incoming).isPage = true;
      return (route as OpenRoute).handle(context);
    };
  const inner =
    route.access === 'token' || route.access === 'server-admin'
      ? forToken(services, route as ServerRoute)
      : forCache(services, route as CacheRoute);
  return isRead(route) ? inner : audited(services, route, inner);
}

/** Who asks: whose token comes along, or who logged in to the pages, which counts for nothing else. */
async function presented(
  { sessions }: Services,
  route: CacheRoute | ServerRoute,
  context: RouteContext,
): Promise<string | Token | undefined> {
  const { authorization } = context.env.incoming.headers;
  if (route.isPage !== true) return authorization;
  recordOf(context.env.incoming).isPage = true;
  return authorization ?? (await sessions.find(context))?.token;
}

function forCache(services: Services, route: CacheRoute): Handler {
  return async (context) => {
    const { incoming } = context.env;
    const name = context.req.param('cache') ?? '';
    const record = recordOf(incoming);
    record.cache = name;
    const credential = await presented(services, route, context);
    const grant = await services.gate.admit(name, route.access, credential);
    record.admitted = name;
    if (grant.token !== undefined) record.token = grant.token;
    return route.handle(context, grant);
  };
}

function forToken(services: Services, route: ServerRoute): Handler {
  return async (context) => {
    const { incoming } = context.env;
    const token = await services.gate.identify(await presented(services, route, context));
    recordOf(incoming).token = token;
    if (route.access === 'server-admin' && !isServerAdmin(token))
      throw new ServerError('forbidden', "this takes a token with the 'admin' scope for all caches ('*')");
    return route.handle(context, token);
  };
}

/** What may be done with leave to read changes nothing, whatever its method. */
function isRead(route: CacheRoute | ServerRoute): boolean {
  return route.method === 'GET' || (Array.isArray(route.access) && route.access.includes('pull'));
}

/** Notes every change that was made, before the client is told that it was. */
function audited({ audit }: Services, route: Route, handle: Handler): Handler {
  return async (context) => {
    const answer = await handle(context);
    const { incoming } = context.env;
    const record = recordOf(incoming);
    await audit.record({
      at: Date.now(),
      token_id: record.token?.id ?? null,
      token_name: record.token?.name ?? null,
      address: incoming.socket.remoteAddress ?? null,
      cache: record.cache ?? null,
      action: `${route.method} ${route.path}`,
      target: context.req.path,
      status: answer.status,
      request: record.id,
    });
    return answer;
  };
}
