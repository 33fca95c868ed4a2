import { compress } from '@larder/signing/codec';
import { formatNarInfosEnd, NARINFOS_TYPE, parseNarInfosRequest } from '@larder/signing/download';
import { HASH_PART_LENGTH } from '@larder/signing/store-path';
import { walkNarInfos } from '../read/closure.js';
import { readJson } from './json.js';
import type { CacheRoute } from './route.js';
import { sendStream } from './send.js';
import type { Services } from './services.js';
import { narInfosRequest } from './wire-schemas.js';

/** Narinfos by the thousand: whole closures, or a batch; the wire types are in signing's `download.ts`. */
export function closureRoutes(services: Services): CacheRoute[] {
  const { database, pathUse } = services;
  const narInfos = (path: string, summary: string, recursive: boolean): CacheRoute => ({
    method: 'POST',
    path,
    access: ['pull'],
    about: {
      summary,
      group: 'fetching',
      body: { json: narInfosRequest },
      answers: {
        200: {
          what: 'Narinfos, each followed by an empty line, and at last `END` and their number',
          type: NARINFOS_TYPE,
        },
      },
    },
    async handle(context, { cache }) {
      const request = parseNarInfosRequest(await readJson(context, services));
      const { incoming, outgoing } = context.env;
      const texts = walkNarInfos(database, { ...request, cacheId: cache.id, recursive });
      const packs = /\bzstd\b/.test(incoming.headers['accept-encoding'] ?? '');
      const hashPartAt = `StorePath: ${cache.storeDir.path}/`.length;
      const body = encode(texts, (text) =>
        pathUse.note(cache.id, text.slice(hashPartAt, hashPartAt + HASH_PART_LENGTH)),
      );
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
  return [
    narInfos('/api/v1/caches/:cache/closure', 'Narinfos of paths and of all they refer to', true),
    narInfos('/api/v1/caches/:cache/narinfos', 'Narinfos of paths', false),
  ];
}

/** Characters sent at a time. */
const CHUNK = 64 * 1024;

async function* encode(
  texts: AsyncIterable<string>,
  onSent: (text: string) => void,
): AsyncGenerator<Uint8Array> {
  let pending = '';
  let count = 0;
  for await (const text of texts) {
    pending += `${text}\n`;
    onSent(text);
    count++;
    if (pending.length < CHUNK) continue;
    yield Buffer.from(pending);
    pending = '';
  }
  yield Buffer.from(pending + formatNarInfosEnd(count));
}
