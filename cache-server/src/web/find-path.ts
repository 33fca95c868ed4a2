import type { Cache } from '../caches/cache.js';
import { type PathRow, queryPaths } from '../database/tables/paths.js';
import { ServerError } from '../errors.js';
import type { RouteContext } from '../http/route.js';
import type { Services } from '../http/services.js';

/** The path that a page is about: `:hash` is its hash part, or its whole base name. @throws `not-found` */
export async function findPath(
  { database }: Services,
  cache: Cache,
  context: RouteContext,
): Promise<PathRow> {
  const hashPart = (context.req.param('hash') ?? '').slice(0, 32);
  const row = (await queryPaths(database.read, cache.id, [hashPart])).get(hashPart);
  if (row !== undefined) return row;
  throw new ServerError('not-found', `the cache ${cache.name} has no path with the hash ${hashPart}`);
}
