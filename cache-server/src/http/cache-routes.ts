import { DEFAULT_STORE_DIR, StoreDir } from '@larder/signing/store-path';
import { mayManage } from '../auth/access.js';
import { allows } from '../auth/token.js';
import { queryUsage } from '../database/tables/cache-usage.js';
import { ServerError } from '../errors.js';
import {
  type CacheUsage,
  cacheChangeBody,
  keyChangeBody,
  newCacheBody,
  newKeyBody,
  optionsChange,
  parseBody,
} from './admin-bodies.js';
import { describeCache } from './describe-cache.js';
import { readJson } from './json.js';
import type { CacheRoute, RouteContext, ServerRoute } from './route.js';
import type { Services } from './services.js';

/** Listing and making caches. */
export function cacheListRoutes({ caches, config }: Services): ServerRoute[] {
  return [
    {
      method: 'GET',
      path: '/api/v1/caches',
      access: 'token',
      async handle(context, token) {
        const all = await caches.list();
        const visible = all.filter(
          (cache) => cache.public || allows(token, 'pull', cache.name) || mayManage(token, cache.name),
        );
        return context.json({ caches: visible.map((cache) => describeCache(cache, config, context)) });
      },
    },
    {
      method: 'POST',
      path: '/api/v1/caches',
      access: 'token',
      async handle(context, token) {
        const body = parseBody(newCacheBody, await readJson(context, config));
        if (!allows(token, 'admin', body.name))
          throw new ServerError('forbidden', `this token has no 'admin' scope for a cache '${body.name}'`);
        const storeDir = new StoreDir(body.storeDir ?? DEFAULT_STORE_DIR);
        const { name, public: isPublic, priority } = body;
        const cache = await caches.create({
          name,
          public: isPublic,
          storeDir,
          ...(priority === undefined ? {} : { priority }),
        });
        return context.json(describeCache(cache, config, context), 201);
      },
    },
  ];
}

/** Changing and deleting a cache, and its keys. */
export function cacheRoutes({ caches, config, database }: Services): CacheRoute[] {
  const json = (context: RouteContext): Promise<unknown> => readJson(context, config);
  return [
    {
      method: 'PATCH',
      path: '/api/v1/caches/:cache',
      access: ['configure'],
      async handle(context, { cache }) {
        const change = parseBody(cacheChangeBody, await json(context));
        const { public: isPublic, priority } = change;
        const options = optionsChange(change);
        const changed = await caches.configure(cache, { public: isPublic, priority, options });
        return context.json(describeCache(changed, config, context));
      },
    },
    {
      method: 'GET',
      path: '/api/v1/caches/:cache/usage',
      access: ['pull', 'push'],
      async handle(context, { cache }) {
        const { paths, nars, nar_bytes } = await queryUsage(database.read, cache.id);
        return context.json({ paths, nars, narBytes: nar_bytes } satisfies CacheUsage);
      },
    },
    {
      method: 'DELETE',
      path: '/api/v1/caches/:cache',
      access: ['admin'],
      async handle(context, { cache }) {
        await caches.delete(cache);
        return context.body(null, 204);
      },
    },
    {
      method: 'POST',
      path: '/api/v1/caches/:cache/keys',
      access: ['configure'],
      async handle(context, { cache }) {
        const { name } = parseBody(newKeyBody, await json(context));
        const changed = await caches.addKey(cache, name);
        return context.json(describeCache(changed, config, context), 201);
      },
    },
    {
      method: 'PATCH',
      path: '/api/v1/caches/:cache/keys/:key',
      access: ['configure'],
      async handle(context, { cache }) {
        const { active } = parseBody(keyChangeBody, await json(context));
        const changed = await caches.setKeyActive(cache, context.req.param('key') ?? '', active);
        return context.json(describeCache(changed, config, context));
      },
    },
  ];
}
