import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { formatFrameHeader } from '@larder/signing/archive-frames';
import { compress } from '@larder/signing/codec';
import {
  type ArchiveRequest,
  type DeltasResponse,
  MAX_SMALL_NAR,
  parseArchivesRequest,
  parseDeltasRequest,
  type StoredDelta,
} from '@larder/signing/download';
import type { Cache } from '../caches/cache.js';
import { ServerError } from '../errors.js';
import { objectKeys } from '../storage/object-key.js';
import { collectBody } from './body.js';
import { readJson } from './json.js';
import { NIX32 } from './path-parameters.js';
import type { CacheRoute } from './route.js';
import { sendObject, sendStream } from './send.js';
import type { Services } from './services.js';
import { archivesRequest, deltasRequest, deltasResponse, storedDelta } from './wire-schemas.js';

/** How long an answer of many waits for one delta, in milliseconds: then the archive goes instead. */
const PATIENCE = 10_000;

/** Objects read ahead of what is being sent. */
const AHEAD = 16;

const IMMUTABLE = 'max-age=31536000, immutable';

/** Deltas, and small archives by the hundred; the wire types are in signing's `download.ts`. */
export function deltaRoutes(services: Services): CacheRoute[] {
  const { config, deltas, storage } = services;
  return [
    {
      method: 'POST',
      path: '/api/v1/caches/:cache/deltas',
      access: ['pull'],
      about: {
        summary: 'Ask for deltas to what the client has',
        details:
          'What is offered without a size is being made, and should be there in so many seconds. Hashes are 52 characters of base-32, without a prefix.',
        group: 'fetching',
        body: { json: deltasRequest },
        answers: { 200: { what: 'The best for each NAR for which there is one', json: deltasResponse } },
      },
      async handle(context, { cache }) {
        const { wanted } = parseDeltasRequest(await readJson(context, services));
        const offers = (await deltas?.offer(cache, wanted)) ?? [];
        const { incoming, outgoing } = context.env;
        const packs = /\bzstd\b/.test(incoming.headers['accept-encoding'] ?? '');
        const body = Buffer.from(JSON.stringify({ offers } satisfies DeltasResponse));
        const stream = Readable.from([body]);
        return sendStream(packs ? compress(stream, 'zstd') : stream, {
          outgoing,
          headers: {
            'Content-Type': 'application/json',
            'Cache-Control': 'no-store',
            ...(packs ? { 'Content-Encoding': 'zstd' } : {}),
          },
        });
      },
    },
    {
      method: 'GET',
      path: `/:cache/delta/:base{${NIX32}{52}}/:file{${NIX32}{52}\\.zst}`,
      access: ['pull'],
      about: {
        summary: 'A delta between two NARs',
        details: 'zstd with the NAR named first as its dictionary; made if it is not there yet.',
        group: 'fetching',
        answers: { 200: { what: 'The delta', type: 'application/zstd' } },
      },
      async handle(context, { cache }) {
        const base = context.req.param('base') ?? '';
        const narHash = (context.req.param('file') ?? '').slice(0, -'.zst'.length);
        const size = await deltas?.ensure(cache, base, narHash);
        const { incoming, outgoing } = context.env;
        const sent =
          size === undefined
            ? undefined
            : await sendObject(storage, objectKeys.delta(cache.name, base, narHash), {
                incoming,
                outgoing,
                headers: {
                  'Content-Type': 'application/zstd',
                  'Cache-Control': `${cache.public ? 'public' : 'private'}, ${IMMUTABLE}`,
                },
                etag: `"${base.slice(0, 26)}${narHash.slice(0, 26)}"`,
              });
        if (sent === undefined) throw new ServerError('not-found', `there is no ${context.req.path}`);
        return sent;
      },
    },
    {
      method: 'PUT',
      path: `/:cache/delta/:base{${NIX32}{52}}/:file{${NIX32}{52}\\.zst}`,
      access: ['push'],
      about: {
        summary: 'Send a delta between two NARs that are there',
        details: 'It is applied and checked before it is kept. One that saves too little is not kept.',
        group: 'publishing',
        body: { type: 'application/zstd' },
        answers: { 200: { what: 'Whether it is kept', json: storedDelta } },
      },
      async handle(context, { cache }) {
        if (deltas === undefined) throw new ServerError('delta-refused', 'this server keeps no deltas');
        const base = context.req.param('base') ?? '';
        const narHash = (context.req.param('file') ?? '').slice(0, -'.zst'.length);
        const delta = await collectBody(context, services, config.deltas.max_nar);
        return context.json({
          kept: await deltas.accept(cache, { base, narHash }, delta),
        } satisfies StoredDelta);
      },
    },
    {
      method: 'POST',
      path: '/api/v1/caches/:cache/archives',
      access: ['pull'],
      about: {
        summary: 'Many NARs in one answer',
        details:
          'Each is a byte (0 for one that is not there, 1 for the NAR as zstd, 2 for its delta to the base named), its ' +
          'length in four (little-endian), and its bytes.',
        group: 'fetching',
        body: { json: archivesRequest },
        answers: { 200: { what: 'In the order asked', type: 'application/x-larder-archives' } },
      },
      async handle(context, { cache }) {
        const archives = parseArchivesRequest(await readJson(context, services));
        return sendStream(frames(services, cache, archives), {
          outgoing: context.env.outgoing,
          headers: { 'Content-Type': 'application/x-larder-archives', 'Cache-Control': 'no-store' },
        });
      },
    },
  ];
}

async function* frames(
  services: Services,
  cache: Cache,
  archives: readonly ArchiveRequest[],
): AsyncGenerator<Uint8Array> {
  const reading: Promise<Uint8Array>[] = [];
  const begin = (archive: ArchiveRequest | undefined): void => {
    if (archive === undefined) return;
    const frame = readFrame(services, cache, archive);
    frame.catch(() => undefined); // Seen when its turn comes.
    reading.push(frame);
  };
  for (const archive of archives.slice(0, AHEAD)) begin(archive);
  for (let next = AHEAD; reading.length > 0; next++) {
    const frame = await reading.shift()!;
    begin(archives[next]);
    yield frame;
  }
}

/** Packed, with room for what does not shrink. What is read ahead for one answer is so many times this at most. */
const LARGEST = MAX_SMALL_NAR + 2 ** 16;

async function readFrame(
  { storage, deltas }: Services,
  cache: Cache,
  { narHash, base }: ArchiveRequest,
): Promise<Uint8Array> {
  if (base !== undefined && deltas !== undefined) {
    const giveUp = new AbortController();
    const size = await Promise.race([
      deltas.ensure(cache, base, narHash),
      sleep(PATIENCE, undefined, { signal: giveUp.signal, ref: false }).catch(() => undefined),
    ]).finally(() => giveUp.abort());
    const delta = size === undefined ? undefined : await read(objectKeys.delta(cache.name, base, narHash));
    if (delta !== undefined) return frame('delta', delta);
  }
  const nar = await read(objectKeys.nar(cache.name, narHash));
  return nar === undefined ? formatFrameHeader('absent', 0) : frame('archive', nar);

  async function read(key: string): Promise<Buffer | undefined> {
    await using object = await storage.get(key);
    if (object === undefined || object.size > LARGEST) return undefined;
    const chunks: Uint8Array[] = [];
    for await (const chunk of object.body) chunks.push(chunk);
    return Buffer.concat(chunks);
  }
}

function frame(kind: 'archive' | 'delta', bytes: Buffer): Buffer {
  return Buffer.concat([formatFrameHeader(kind, bytes.length), bytes]);
}
