import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import { API_HEADER } from '@larder/signing/download';
import type { Grant } from '../auth/access.js';
import type { Cache } from '../caches/cache.js';
import { cacheInfoText } from '../caches/cache-directory.js';
import { ServerError } from '../errors.js';
import type { ServedNarInfo } from '../read/narinfo-cache.js';
import { narKey, objectKeys } from '../storage/object-key.js';
import { directRead } from './direct-reads.js';
import { NIX32 } from './path-parameters.js';
import { pullNar } from './pull-nar.js';
import type { CacheRoute, RouteContext } from './route.js';
import type { RouteDescription } from './route-description.js';
import { type Exchange, matchesEtag, sendObject } from './send.js';
import type { Services } from './services.js';

/** For ever: a NAR's name is its hash. */
const IMMUTABLE_AGE = 31_536_000;
/** A narinfo may gain signatures, or be withdrawn; its NAR outlives it by far. */
const NARINFO_AGE = 3600;

export const NARINFO_PATH = `/:cache/:file{${NIX32}{32}\\.narinfo}`;

/** What stock Nix reads of a cache. */
export function readRoutes(services: Services): CacheRoute[] {
  const { narInfos, storage, nars, pathUse, resigner, upstreams } = services;

  const sendFile = async (
    context: RouteContext,
    key: string,
    options: { readonly headers: Readonly<Record<string, string>>; readonly etag?: string },
  ): Promise<Response> => {
    const { incoming, outgoing } = context.env;
    const sent = await sendObject(storage, key, { incoming, outgoing, ...options });
    return sent ?? absent(context);
  };

  return [
    {
      method: 'GET',
      path: '/:cache/nix-cache-info',
      access: ['pull'],
      about: read('Read what kind of cache it is', 'text/x-nix-cache-info'),
      handle: (context, { cache }) =>
        context.body(cacheInfoText(cache), 200, {
          'Content-Type': 'text/x-nix-cache-info',
          'Cache-Control': 'no-cache',
          // What is only behind the cache comes one narinfo at a time: an answer in batches would leave it out.
          ...((cache.options.upstreams ?? []).length > 0 ? {} : { [API_HEADER]: '1' }),
        }),
    },
    {
      method: 'GET',
      path: NARINFO_PATH,
      access: ['pull'],
      about: read('Read what is known of a path', 'text/x-nix-narinfo'),
      async handle(context, grant) {
        const hashPart = parameter(context, 'file').slice(0, -'.narinfo'.length);
        const { id } = grant.cache;
        const complete = (text: string): string => resigner.complete(grant.cache, hashPart, text);
        const narInfo = narInfos.peek(id, hashPart) ?? (await narInfos.find(id, hashPart, complete));
        if (narInfo === undefined) {
          const text = await upstreams.findNarInfo(grant.cache, hashPart);
          if (text === undefined) return absent(context);
          return context.body(text, 200, {
            'Content-Type': 'text/x-nix-narinfo',
            'Cache-Control': cacheControl(grant, NARINFO_AGE),
          });
        }
        pathUse.note(id, hashPart);
        const { incoming, outgoing } = context.env;
        sendNarInfo(narInfo, { incoming, outgoing, cache: grant.cache });
        return RESPONSE_ALREADY_SENT;
      },
    },
    {
      method: 'GET',
      path: '/:cache/nar/:file',
      access: ['pull'],
      about: {
        ...read('Read a NAR', 'application/x-nix-nar'),
        details: 'Takes one range. For a HEAD, names under which stock clients sent it count as well.',
      },
      async handle(context, grant) {
        const file = parameter(context, 'file');
        const narHash = new RegExp(`^(${NIX32}{52})\\.nar\\.zst$`).exec(file)?.[1];
        if (narHash === undefined) return namedNar(context, grant, file);
        const etag = `"${narHash}"`;
        const headers = {
          'Content-Type': 'application/x-nix-nar',
          'Cache-Control': `${cacheControl(grant, IMMUTABLE_AGE)}, immutable`,
        };
        if (matchesEtag(context.req.header('If-None-Match'), etag))
          return context.body(null, 304, { ...headers, ETag: etag });
        const { incoming, outgoing } = context.env;
        const key = objectKeys.nar(grant.cache.name, narHash);
        const elsewhere =
          incoming.method !== 'HEAD' && (await isStored(grant, narHash))
            ? await directRead(services, { cache: grant.cache, key, incoming })
            : undefined;
        if (elsewhere !== undefined)
          return context.body(null, elsewhere.status, { ...headers, ...elsewhere.headers });
        const sent = await sendObject(storage, key, { incoming, outgoing, headers, etag });
        if (sent !== undefined) return sent;
        const pulled = await pullNar(upstreams, grant.cache, { narHash, incoming, outgoing, headers });
        if (pulled === 'streamed') return RESPONSE_ALREADY_SENT;
        const stored =
          pulled === 'stored'
            ? await sendObject(storage, key, { incoming, outgoing, headers, etag })
            : undefined;
        return stored ?? namedNar(context, grant, file);
      },
    },
    {
      method: 'GET',
      path: `/:cache/:file{${NIX32}{32}\\.ls}`,
      access: ['pull'],
      about: read("List a path's files", 'application/json'),
      async handle(context, grant) {
        const hashPart = parameter(context, 'file').slice(0, -'.ls'.length);
        return sendFile(context, objectKeys.listing(grant.cache.name, hashPart), {
          headers: { 'Content-Type': 'application/json', 'Cache-Control': cacheControl(grant, NARINFO_AGE) },
        });
      },
    },
    {
      method: 'GET',
      path: '/:cache/log/:derivation',
      access: ['pull'],
      about: read('Read the log of a build', 'text/plain'),
      handle: (context, grant) =>
        sendFile(context, objectKeys.log(grant.cache.name, parameter(context, 'derivation')), {
          headers: {
            'Content-Type': 'text/plain; charset=utf-8',
            'Cache-Control': cacheControl(grant, NARINFO_AGE),
            // Logs are whatever a build printed.
            'X-Content-Type-Options': 'nosniff',
          },
        }),
    },
    {
      method: 'GET',
      path: '/:cache/realisations/:file{.+\\.doi}',
      access: ['pull'],
      about: read('Read a realisation (Nix up to 2.34)', 'application/json'),
      handle: (context, grant) => {
        const id = parameter(context, 'file').slice(0, -'.doi'.length);
        return sendFile(context, objectKeys.realisation(grant.cache.name, id), { headers: json(grant) });
      },
    },
    {
      method: 'GET',
      path: '/:cache/build-trace-v2/:derivation/:output{.+\\.doi}',
      access: ['pull'],
      about: read('Read a realisation (Nix from 2.35)', 'application/json'),
      handle: (context, grant) => {
        const output = parameter(context, 'output').slice(0, -'.doi'.length);
        const derivation = parameter(context, 'derivation');
        const key = objectKeys.buildTrace(grant.cache.name, derivation, output);
        return sendFile(context, key, { headers: json(grant) });
      },
    },
    {
      method: 'GET',
      path: '/:cache/debuginfo/:buildId{[0-9a-f]{40}(?:\\.debug)?}',
      access: ['pull'],
      about: read('Find the debug information of a build id', 'application/json'),
      handle: (context, grant) =>
        sendFile(context, objectKeys.debugInfo(grant.cache.name, parameter(context, 'buildId')), {
          headers: json(grant),
        }),
    },
  ];

  /** What is only in an upstream yet is not to be had directly. */
  async function isStored({ cache }: Grant, narHash: string): Promise<boolean> {
    if ((cache.options.upstreams ?? []).length === 0) return true;
    return (await nars.find(cache, narHash)) !== undefined;
  }

  /**
   * A NAR by another name: where stock Nix put it, whose cache was taken over. And before it sends a NAR, stock Nix asks
   * whether one of that name is here: it is, in another form.
   */
  async function namedNar(context: RouteContext, grant: Grant, file: string): Promise<Response> {
    const row = await nars.findUploaded(grant.cache, file);
    if (row === undefined) return absent(context);
    const { incoming, outgoing } = context.env;
    const key = narKey(grant.cache.name, row);
    if (row.file !== `nar/${file}`)
      return incoming.method === 'HEAD' ? new Response(null, { status: 200 }) : absent(context);
    const headers = {
      'Content-Type': 'application/x-nix-nar',
      'Cache-Control': `${cacheControl(grant, IMMUTABLE_AGE)}, immutable`,
    };
    const elsewhere =
      incoming.method === 'HEAD'
        ? undefined
        : await directRead(services, { cache: grant.cache, key, incoming });
    if (elsewhere !== undefined)
      return context.body(null, elsewhere.status, { ...headers, ...elsewhere.headers });
    const sent = await sendObject(storage, key, { incoming, outgoing, headers, etag: `"${file}"` });
    return sent ?? absent(context);
  }
}

/** Below Hono, and as text: headers and body leave in one write, without a Response being made of them. */
export function sendNarInfo(
  narInfo: ServedNarInfo,
  { incoming, outgoing, cache, requestId }: Exchange & { readonly cache: Cache; readonly requestId?: string },
): void {
  const isKnown = matchesEtag(incoming.headers['if-none-match'], narInfo.etag);
  // As a list, which Node sends as it is.
  const headers = ['Content-Type', 'text/x-nix-narinfo', 'ETag', narInfo.etag];
  headers.push('Cache-Control', cacheControl({ cache }, NARINFO_AGE));
  if (!isKnown) headers.push('Content-Length', `${narInfo.size}`);
  if (requestId !== undefined) headers.push('X-Request-Id', requestId);
  outgoing.writeHead(isKnown ? 304 : 200, headers);
  outgoing.end(isKnown ? undefined : narInfo.text);
}

/** Nothing there. It may come at any moment, so nobody is to remember. */
function absent(context: RouteContext): never {
  throw new ServerError('not-found', `there is no ${context.req.path}`);
}

/** What is only for some must not be kept by proxies for all. */
function cacheControl({ cache }: Grant, age: number): string {
  return `${cache.public ? 'public' : 'private'}, max-age=${age}`;
}

function read(summary: string, type: string): RouteDescription {
  return { summary, group: 'reading', answers: { 200: { what: 'It', type } } };
}

function json(grant: Grant): Readonly<Record<string, string>> {
  return { 'Content-Type': 'application/json', 'Cache-Control': cacheControl(grant, NARINFO_AGE) };
}

function parameter(context: RouteContext, name: string): string {
  return context.req.param(name) ?? '';
}
