import { DEFAULT_STORE_DIR, StoreDir } from '@larder/signing/store-path';
import { z } from 'zod';
import { mayManage } from '../auth/access.js';
import { allows } from '../auth/token.js';
import { queryUsage } from '../database/tables/cache-usage.js';
import type { ResignJobRow } from '../database/tables/resign-jobs.js';
import { ServerError } from '../errors.js';
import {
  type CacheUsage,
  cacheChangeBody,
  cacheUsage,
  keyChangeBody,
  newCacheBody,
  newKeyBody,
  optionsChange,
  parseBody,
  type ResignJob,
  resignBody,
  resignJob,
} from './admin-bodies.js';
import { describeCache } from './describe-cache.js';
import { readJson } from './json.js';
import type { CacheRoute, RouteContext, ServerRoute } from './route.js';
import type { Services } from './services.js';
import { cacheDescription } from './wire-schemas.js';

/** Listing and making caches. */
export function cacheListRoutes(services: Services): ServerRoute[] {
  const { caches, config } = services;
  return [
    {
      method: 'GET',
      path: '/api/v1/caches',
      access: 'token',
      about: {
        summary: 'List the caches that the token may see',
        group: 'caches',
        answers: { 200: { what: 'The caches', json: z.object({ caches: z.array(cacheDescription) }) } },
      },
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
      about: {
        summary: 'Make a cache',
        details:
          'Takes a token with the `admin` scope for a cache of that name. The cache gets a signing key.',
        group: 'caches',
        body: { json: newCacheBody },
        answers: { 201: { what: 'The new cache', json: cacheDescription } },
      },
      async handle(context, token) {
        const body = parseBody(newCacheBody, await readJson(context, services));
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
export function cacheRoutes(services: Services): CacheRoute[] {
  const { caches, config, database, resigner } = services;
  const json = (context: RouteContext): Promise<unknown> => readJson(context, services);
  return [
    {
      method: 'PATCH',
      path: '/api/v1/caches/:cache',
      access: ['configure'],
      about: {
        summary: 'Change a cache',
        details: 'What the body leaves out stays as it is.',
        group: 'caches',
        body: { json: cacheChangeBody },
        answers: { 200: { what: 'The cache as it is now', json: cacheDescription } },
      },
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
      about: {
        summary: 'What the cache holds',
        group: 'caches',
        answers: { 200: { what: 'Its paths and NARs, counted', json: cacheUsage } },
      },
      async handle(context, { cache }) {
        const { paths, nars, nar_bytes } = await queryUsage(database.read, cache.id);
        return context.json({ paths, nars, narBytes: nar_bytes } satisfies CacheUsage);
      },
    },
    {
      method: 'DELETE',
      path: '/api/v1/caches/:cache',
      access: ['admin'],
      about: {
        summary: 'Delete a cache and all that is in it',
        group: 'caches',
        answers: { 204: { what: 'It is gone' } },
      },
      async handle(context, { cache }) {
        await caches.delete(cache);
        return context.body(null, 204);
      },
    },
    {
      method: 'POST',
      path: '/api/v1/caches/:cache/keys',
      access: ['configure'],
      about: {
        summary: 'Make one more signing key',
        group: 'caches',
        body: { json: newKeyBody },
        answers: { 201: { what: 'The cache with its keys', json: cacheDescription } },
      },
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
      about: {
        summary: 'Sign with a key, or no longer',
        details: 'The public half of a retired key stays listed.',
        group: 'caches',
        body: { json: keyChangeBody },
        answers: { 200: { what: 'The cache with its keys', json: cacheDescription } },
      },
      async handle(context, { cache }) {
        const { active } = parseBody(keyChangeBody, await json(context));
        const changed = await caches.setKeyActive(cache, context.req.param('key') ?? '', active);
        return context.json(describeCache(changed, config, context));
      },
    },
    {
      method: 'DELETE',
      path: '/api/v1/caches/:cache/keys/:key',
      access: ['configure'],
      about: {
        summary: 'Forget a retired key',
        details: 'Its public half is no longer listed: sign all paths anew before.',
        group: 'caches',
        answers: { 200: { what: 'The cache', json: cacheDescription } },
      },
      async handle(context, { cache }) {
        const changed = await caches.removeKey(cache, context.req.param('key') ?? '');
        return context.json(describeCache(changed, config, context));
      },
    },
    {
      method: 'POST',
      path: '/api/v1/caches/:cache/resign',
      access: ['configure'],
      about: {
        summary: 'Sign all paths with the keys in use',
        details:
          'Those that a key of the cache signed already. It goes on by itself; an older one begins anew.',
        group: 'caches',
        body: { json: resignBody },
        answers: { 202: { what: 'It has begun', json: resignJob } },
      },
      async handle(context, { cache }) {
        const { dropRetired } = parseBody(resignBody, await json(context));
        return context.json(describeJob(await resigner.start(cache, { dropRetired })), 202);
      },
    },
    {
      method: 'GET',
      path: '/api/v1/caches/:cache/resign',
      access: ['configure'],
      about: {
        summary: 'How far signing anew is',
        group: 'caches',
        answers: { 200: { what: 'The last job', json: resignJob } },
      },
      async handle(context, { cache }) {
        const job = await resigner.find(cache);
        if (job === undefined) throw new ServerError('not-found', 'the cache was never signed anew');
        return context.json(describeJob(job));
      },
    },
  ];
}

function describeJob(job: ResignJobRow): ResignJob {
  return {
    dropRetired: job.drop_retired === 1,
    seen: job.seen,
    changed: job.changed,
    startedAt: new Date(job.started_at).toISOString(),
    ...(job.finished_at === null ? {} : { finishedAt: new Date(job.finished_at).toISOString() }),
  };
}
