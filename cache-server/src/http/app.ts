import { Hono } from 'hono';
import { ServerError } from '../errors.js';
import { describeError } from './errors.js';
import { healthRoutes } from './health-routes.js';
import { readRoutes } from './read-routes.js';
import { recordOf } from './request-record.js';
import type { CacheRoute, Route, RouteContext, RouteEnvironment } from './route.js';
import type { Services } from './services.js';
import { stockRoutes } from './stock-routes.js';
import { uploadRoutes } from './upload-routes.js';

/** Every route of the server, with who may use it. */
export function allRoutes(services: Services): Route[] {
  return [
    ...healthRoutes(services),
    ...uploadRoutes(services),
    ...readRoutes(services),
    ...stockRoutes(services),
  ];
}

/** The server's routes as one Hono application. Access is checked here and nowhere else. */
export function createApp(services: Services): Hono<RouteEnvironment> {
  const app = new Hono<RouteEnvironment>({ strict: true });
  for (const route of allRoutes(services)) {
    const handle = route.access === 'open' ? route.handle : guarded(services, route);
    app.on(route.method, route.path, handle);
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
    const { status, headers, body } = describeError(error, record.id);
    return context.json(body, status, { ...headers, 'Cache-Control': 'no-store' });
  });
  return app;
}

function guarded({ gate }: Services, route: CacheRoute): (context: RouteContext) => Promise<Response> {
  return async (context) => {
    const { incoming } = context.env;
    const name = context.req.param('cache') ?? '';
    const record = recordOf(incoming);
    record.cache = name;
    const grant = await gate.admit(name, route.access, incoming.headers.authorization);
    if (grant.token !== undefined) record.token = grant.token.id;
    return route.handle(context, grant);
  };
}
