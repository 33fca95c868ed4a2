import type { Cache } from '../caches/cache.js';
import type { Services } from './services.js';

/**
 * Where a client should rather get an object from, as headers of a redirect. A CDN in front of the bucket is open to anyone,
 * so private caches go there never; presigned URLs are for who may read the cache, and end.
 * @returns `undefined` when the object is to be sent from here
 */
export async function directUrl(
  { config, storage }: Services,
  cache: Cache,
  key: string,
): Promise<Readonly<Record<string, string>> | undefined> {
  const { redirect, cdn_url: cdn, presigned_for: validity } = config.reads;
  if (redirect === 'cdn' && cache.public && cdn !== undefined)
    return { Location: `${cdn}/${key}`, 'Cache-Control': 'public, max-age=3600' };
  if (redirect !== 'presigned' || storage.presign === undefined) return undefined;
  const seconds = Math.max(60, Math.round(validity / 1000));
  const location = await storage.presign(key, seconds);
  // Whoever keeps it must not keep it for longer than it holds.
  return { Location: location, 'Cache-Control': `private, max-age=${Math.floor(seconds / 2)}` };
}
