import { COMPRESSIONS, parseCompression } from '@larder/signing/compression';
import { parseHash } from '@larder/signing/hash';
import { parseStorePath, storePathHashPart, storePathName } from '@larder/signing/store-path';
import {
  type CommitResponse,
  type MissingResponse,
  parseCommitRequest,
  parseMissingRequest,
  type StoredNar,
} from '@larder/signing/upload';
import { z } from 'zod';
import type { NarRow } from '../database/tables/nars.js';
import { queryPathNames } from '../database/tables/paths.js';
import { ServerError } from '../errors.js';
import { parseCommitPath } from '../publish/draft.js';
import { bareHash } from '../publish/narinfo-text.js';
import { parseDerivationName } from '../publish/side-files.js';
import { pathNeed } from '../publish/stock-publisher.js';
import { collectBody, readBody, untilClosed } from './body.js';
import { describeCache } from './describe-cache.js';
import { readJson } from './json.js';
import type { CacheRoute, RouteContext } from './route.js';
import type { Services } from './services.js';
import {
  cacheDescription,
  commitRequest,
  commitResponse,
  missingRequest,
  missingResponse,
  storedNar,
} from './wire-schemas.js';

/** Larder's own upload API; its wire types are in signing's `upload.ts`. */
export function uploadRoutes(services: Services): CacheRoute[] {
  const { config, database, nars, publisher, stock, sideFiles, pathUse } = services;
  const { limits } = config;
  const idle = config.timeouts.idle;

  return [
    {
      method: 'GET',
      path: '/api/v1/caches/:cache',
      access: ['pull', 'push'],
      about: {
        summary: 'Describe a cache',
        group: 'publishing',
        answers: { 200: { what: 'The cache', json: cacheDescription } },
      },
      handle: (context, { cache }) => context.json(describeCache(cache, config, context)),
    },
    {
      method: 'POST',
      path: '/api/v1/caches/:cache/missing',
      access: ['pull', 'push'],
      about: {
        summary: 'Ask which of these paths are not there',
        group: 'publishing',
        body: { json: missingRequest },
        answers: { 200: { what: 'Those that are not, in the order asked', json: missingResponse } },
      },
      async handle(context, { cache }) {
        const paths = parseMissingRequest(await readJson(context, services)).paths.map(parseStorePath);
        const names = await queryPathNames(database.read, cache.id, paths.map(storePathHashPart));
        const missing = paths.filter((path) => names.get(storePathHashPart(path)) !== storePathName(path));
        // Somebody is about to refer to those that are there.
        for (const hashPart of names.keys()) pathUse.note(cache.id, hashPart);
        return context.json({ missing } satisfies MissingResponse);
      },
    },
    {
      // HEAD, too: whether the NAR is here.
      method: 'GET',
      path: '/api/v1/caches/:cache/nars/:narHash',
      access: ['push'],
      about: {
        summary: 'Ask whether a NAR is there',
        group: 'publishing',
        answers: { 200: { what: 'It is', json: storedNar } },
      },
      async handle(context, { cache }) {
        const narHash = parseNarHash(context);
        const nar = await nars.findForUpload(cache, narHash);
        if (nar === undefined) throw new ServerError('not-found', `there is no NAR sha256:${narHash}`);
        return context.json(describeNar(nar));
      },
    },
    {
      method: 'PUT',
      path: '/api/v1/caches/:cache/nars/:narHash',
      access: ['push'],
      about: {
        summary: 'Send a NAR',
        details: 'It is verified against its name before the answer, and compressed anew.',
        group: 'publishing',
        query: {
          compression: { what: 'Of the body', schema: z.enum(COMPRESSIONS).default('none') },
          narSize: { what: 'Bytes of the NAR, unpacked', schema: z.int().min(0) },
        },
        body: { type: 'application/x-nix-nar' },
        answers: {
          200: { what: 'It was there', json: storedNar },
          201: { what: 'It is there now', json: storedNar },
        },
      },
      async handle(context, { cache }) {
        const narHash = parseNarHash(context);
        const narSize = parseSize(context.req.query('narSize'));
        const compression = parseCompression(context.req.query('compression') ?? 'none');
        const body = readBody(context.env.incoming, { limit: limits.nar, idle });
        const known = await nars.find(cache, narHash);
        const stored = await nars.receive(cache, body, {
          compression,
          narHash,
          ...(narSize === undefined ? {} : { narSize }),
          signal: untilClosed(context.env.incoming),
        });
        return context.json(describeNar(stored), known === undefined ? 201 : 200);
      },
    },
    {
      method: 'POST',
      path: '/api/v1/caches/:cache/commit',
      access: ['push'],
      about: {
        summary: 'Publish paths, all or none',
        details:
          'Their NARs must have been sent, and their references be in the cache or among them: 409 lists those that are not.',
        group: 'publishing',
        body: { json: commitRequest },
        answers: { 200: { what: 'What became of each', json: commitResponse } },
      },
      async handle(context, { cache }) {
        const drafts = parseCommitRequest(await readJson(context, services)).paths.map(parseCommitPath);
        const statuses = await publisher.publish(cache, drafts);
        for (const draft of drafts) await stock.settle(cache, pathNeed(storePathHashPart(draft.storePath)));
        const paths = drafts.map(({ storePath }, index) => ({
          storePath,
          status: statuses[index] ?? 'present',
        }));
        const committed = statuses.filter((status) => status === 'added').length;
        return context.json({ committed, paths } satisfies CommitResponse);
      },
    },
    {
      method: 'PUT',
      path: '/api/v1/caches/:cache/logs/:derivation',
      access: ['push'],
      about: {
        summary: 'Send the log of a build',
        group: 'publishing',
        body: { type: 'text/plain' },
        answers: { 204: { what: 'It is kept' } },
      },
      async handle(context, { cache }) {
        const derivation = parseDerivationName(context.req.param('derivation') ?? '');
        const body = await collectBody(context, services, limits.log);
        await sideFiles.putLog(cache, derivation, body);
        return context.body(null, 204);
      },
    },
  ];
}

function describeNar(nar: NarRow): StoredNar {
  return { narHash: `sha256:${nar.nar_hash}`, narSize: nar.nar_size, fileSize: nar.file_size };
}

function parseNarHash(context: RouteContext): string {
  return bareHash(parseHash(context.req.param('narHash') ?? '', 'sha256'));
}

function parseSize(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new ServerError('request-malformed', `narSize '${text}' is not a number of bytes`);
}
