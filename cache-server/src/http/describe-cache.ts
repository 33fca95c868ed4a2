import type { CacheDescription } from '@larder/signing/upload';
import type { Cache } from '../caches/cache.js';
import type { CacheOptions } from '../caches/cache-options.js';
import type { ServerConfig } from '../config.js';
import type { RouteContext } from './route.js';

/** A cache as the API tells of it. Its URL is as configured, or as this request reached the server. */
export function describeCache(cache: Cache, config: ServerConfig, context: RouteContext): CacheDescription {
  const server = config.public_url ?? new URL(context.req.url).origin;
  return {
    name: cache.name,
    public: cache.public,
    storeDir: cache.storeDir.path,
    priority: cache.priority,
    publicKeys: cache.publicKeys.map((key) => key.format()),
    url: `${server}/${cache.name}`,
    ...describeOptions(cache.options),
  };
}

function describeOptions({
  retention,
  quota,
  upstreams,
  signUpstream,
}: CacheOptions): Partial<CacheDescription> {
  return {
    ...(retention === undefined
      ? {}
      : {
          retention: {
            ...retention,
            age: inSeconds(retention.age),
            unused: inSeconds(retention.unused),
          },
        }),
    ...(quota === undefined ? {} : { quota }),
    ...(upstreams === undefined
      ? {}
      : { upstreams: upstreams.map(({ url, publicKeys }) => ({ url, publicKeys })) }),
    ...(signUpstream === undefined ? {} : { signUpstream }),
  };
}

function inSeconds(milliseconds: number | undefined): number | undefined {
  return milliseconds === undefined ? undefined : milliseconds / 1000;
}
