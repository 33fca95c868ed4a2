import { once } from 'node:events';
import type { Cache } from '../caches/cache.js';
import type { Upstreams } from '../upstream/upstreams.js';
import type { Exchange } from './send.js';

/**
 * Fetches a NAR that an upstream has, and sends it on as it is stored. The answer ends well only once all of it was verified;
 * otherwise the connection breaks, and the client knows. One that goes away, or asks for a part, keeps nothing from being
 * stored.
 * @returns what `Upstreams.pullNar` does
 */
export async function pullNar(
  upstreams: Upstreams,
  cache: Cache,
  {
    narHash,
    incoming,
    outgoing,
    headers,
  }: Exchange & {
    readonly narHash: string;
    readonly headers: Readonly<Record<string, string>>;
  },
): Promise<'streamed' | 'stored' | undefined> {
  if ((cache.options.upstreams ?? []).length === 0) return undefined;
  const isWhole = incoming.method === 'GET' && incoming.headers.range === undefined;
  if (!isWhole) return upstreams.pullNar(cache, narHash);
  const pulled = await upstreams.pullNar(cache, narHash, async (chunk) => {
    if (outgoing.destroyed) return;
    if (!outgoing.headersSent) outgoing.writeHead(200, headers);
    if (!outgoing.write(chunk))
      await Promise.race([once(outgoing, 'drain'), once(outgoing, 'close')]).catch(() => undefined);
  });
  if (pulled === 'streamed') outgoing.end();
  return pulled;
}
