import { compress } from '@larder/signing/codec';
import { formatNarInfosEnd, NARINFOS_TYPE, parseNarInfosRequest } from '@larder/signing/download';
import { walkNarInfos } from '../read/closure.js';
import { readJson } from './json.js';
import type { CacheRoute } from './route.js';
import { sendStream } from './send.js';
import type { Services } from './services.js';

/** Narinfos by the thousand: whole closures, or a batch; the wire types are in signing's `download.ts`. */
export function closureRoutes({ config, database }: Services): CacheRoute[] {
  const narInfos = (path: string, recursive: boolean): CacheRoute => ({
    method: 'POST',
    path,
    access: ['pull'],
    async handle(context, { cache }) {
      const request = parseNarInfosRequest(await readJson(context, config));
      const { incoming, outgoing } = context.env;
      const texts = walkNarInfos(database, { ...request, cacheId: cache.id, recursive });
      const packs = /\bzstd\b/.test(incoming.headers['accept-encoding'] ?? '');
      const body = encode(texts);
      return sendStream(packs ? compress(body, 'zstd') : body, {
        outgoing,
        headers: {
          'Content-Type': NARINFOS_TYPE,
          'Cache-Control': 'no-store',
          ...(packs ? { 'Content-Encoding': 'zstd' } : {}),
        },
      });
    },
  });
  return [narInfos('/api/v1/caches/:cache/closure', true), narInfos('/api/v1/caches/:cache/narinfos', false)];
}

/** Characters sent at a time. */
const CHUNK = 64 * 1024;

async function* encode(texts: AsyncIterable<string>): AsyncGenerator<Uint8Array> {
  let pending = '';
  let count = 0;
  for await (const text of texts) {
    pending += `${text}\n`;
    count++;
    if (pending.length < CHUNK) continue;
    yield Buffer.from(pending);
    pending = '';
  }
  yield Buffer.from(pending + formatNarInfosEnd(count));
}
