import type { IncomingMessage } from 'node:http';
import type { Cache } from '../caches/cache.js';
import type { Services } from './services.js';

/** An answer without a body: the bytes come from elsewhere. */
export interface DirectRead {
  readonly status: 200 | 302;
  readonly headers: Readonly<Record<string, string>>;
}

/** What is read, and by whom. */
export interface DirectReadOptions {
  readonly cache: Cache;
  readonly key: string;
  readonly incoming: IncomingMessage;
}

/**
 * Where a client should rather get an object from. A CDN in front of the bucket is open to anyone, so private caches go
 * there never; presigned URLs are for who may read the cache, and end. A proxy that says it can send files itself, as
 * nginx does by `proxy_set_header X-Sendfile-Type X-Accel-Redirect`, is told which: the client sees nothing of it.
 * @returns `undefined` when the object is to be sent from here
 */
export async function directRead(
  { config, storage }: Services,
  { cache, key, incoming }: DirectReadOptions,
): Promise<DirectRead | undefined> {
  const { redirect, cdn_url: cdn, presigned_for: validity, accel_location: location } = config.reads;
  if (redirect === 'cdn' && cache.public && cdn !== undefined)
    return { status: 302, headers: { Location: `${cdn}/${key}`, 'Cache-Control': 'public, max-age=3600' } };
  if (redirect === 'accel') {
    if (incoming.headers['x-sendfile-type'] !== 'X-Accel-Redirect') return undefined;
    // It may be somewhere else, or come from an upstream yet: the proxy would know nothing of that.
    if ((await storage.head(key)) === undefined) return undefined;
    return { status: 200, headers: { 'X-Accel-Redirect': `${location}/${encodeURI(key)}` } };
  }
  if (redirect !== 'presigned' || storage.presign === undefined) return undefined;
  const seconds = Math.max(60, Math.round(validity / 1000));
  const url = await storage.presign(key, seconds);
  // Whoever keeps it must not keep it for longer than it holds.
  return {
    status: 302,
    headers: { Location: url, 'Cache-Control': `private, max-age=${Math.floor(seconds / 2)}` },
  };
}
