import { allRoutes } from '@larder/cache-server/http/app';
import { readRoutePath } from '@larder/cache-server/http/path-parameters';
import type { CacheRoute, Route } from '@larder/cache-server/http/route';
import type { Services } from '@larder/cache-server/http/services';

/** The routes as the server has them: their handlers are not called. */
export function routeTable(): Route[] {
  return allRoutes({ config: { limits: {}, timeouts: {} } } as unknown as Services);
}

export function isCacheRoute(route: Route): route is CacheRoute {
  return typeof route.access !== 'string';
}

/** The names of a route's parameters. */
export function parametersOf(route: Route): string[] {
  return readRoutePath(route.path).flatMap((piece) => (typeof piece === 'string' ? [] : [piece.name]));
}
