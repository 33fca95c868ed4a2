import { compressionOfUrl } from '@larder/signing/compression';
import { parseNarListing } from '@larder/signing/nar-listing';
import { isStoreName } from '@larder/signing/store-path';
import { ServerError } from '../errors.js';
import { parseDerivationName } from '../publish/side-files.js';
import { fileNeed, isNarFileName } from '../publish/stock-publisher.js';
import { collectBody, readBody, untilClosed } from './body.js';
import type { CacheRoute, RouteContext } from './route.js';
import type { RouteDescription } from './route-description.js';
import type { Services } from './services.js';
import { sniffUpload } from './sniff-upload.js';

const HASH = '[0-9abcdfghijklmnpqrsvwxyz]';

/**
 * What stock Nix writes to a cache: plain PUTs in Nix's own layout, as `nix copy --to http://…` sends them. Answers are 200 or
 * 204, which every version takes for success (202 it does not).
 */
export function stockRoutes(services: Services): CacheRoute[] {
  const { config, nars, stock, sideFiles, realisations } = services;
  const { limits } = config;
  const idle = config.timeouts.idle;
  const collect = (context: RouteContext, limit: number): Promise<Buffer> =>
    collectBody(context, services, limit);
  const text = async (context: RouteContext, limit: number): Promise<string> =>
    (await collect(context, limit)).toString('utf8');

  return [
    {
      method: 'PUT',
      path: '/:cache/nar/:file',
      access: ['push'],
      about: kept('Send a NAR, named by the hash of its file', 'application/x-nix-nar'),
      async handle(context, { cache }) {
        const fileName = context.req.param('file') ?? '';
        if (!isNarFileName(fileName))
          throw new ServerError(
            'request-malformed',
            `'${fileName}' is not of the form <file hash>.nar.<compression>`,
          );
        const body = readBody(context.env.incoming, { limit: limits.nar, idle });
        const label = compressionOfUrl(fileName);
        const upload = label === 'none' ? await sniffUpload(body) : { body, compression: label };
        const row = await nars.receive(cache, upload.body, {
          compression: upload.compression,
          fileName,
          signal: untilClosed(context.env.incoming),
        });
        await sideFiles.settleDebugInfo(cache, fileName, row.nar_hash);
        await stock.settle(cache, fileNeed(fileName));
        return context.body(null, 204);
      },
    },
    {
      method: 'PUT',
      path: `/:cache/:file{${HASH}{32}\\.narinfo}`,
      access: ['push'],
      about: {
        ...kept('Send a narinfo', 'text/x-nix-narinfo'),
        details:
          'One that comes before its NAR or its references waits for them, invisible: `Larder-Waiting-For` counts them.',
      },
      async handle(context, { cache }) {
        const hashPart = (context.req.param('file') ?? '').slice(0, -'.narinfo'.length);
        const waiting = await stock.receive(cache, hashPart, await text(context, limits.narinfo));
        return context.body(null, 204, waiting === 0 ? {} : { 'Larder-Waiting-For': `${waiting}` });
      },
    },
    {
      // Listings are made here, from the NAR itself: what a client says is read, to tell it of nonsense, and dropped.
      method: 'PUT',
      path: `/:cache/:file{${HASH}{32}\\.ls}`,
      access: ['push'],
      about: {
        ...kept('Send a listing', 'application/json'),
        details: 'It is read and dropped: listings are made here, from the NAR itself.',
      },
      async handle(context) {
        parseNarListing(await text(context, limits.listing));
        return context.body(null, 204);
      },
    },
    {
      method: 'PUT',
      path: '/:cache/log/:derivation',
      access: ['push'],
      about: kept('Send the log of a build', 'text/plain'),
      async handle(context, { cache }) {
        const derivation = parseDerivationName(context.req.param('derivation') ?? '');
        await sideFiles.putLog(cache, derivation, await collect(context, limits.log));
        return context.body(null, 204);
      },
    },
    {
      method: 'PUT',
      path: '/:cache/realisations/:file{.+\\.doi}',
      access: ['push'],
      about: kept('Send a realisation (Nix up to 2.34)', 'application/json'),
      async handle(context, { cache }) {
        const id = (context.req.param('file') ?? '').slice(0, -'.doi'.length);
        await realisations.put(cache, id, await text(context, limits.narinfo));
        return context.body(null, 204);
      },
    },
    {
      method: 'PUT',
      path: '/:cache/build-trace-v2/:derivation/:output{.+\\.doi}',
      access: ['push'],
      about: kept('Send a realisation (Nix from 2.35)', 'application/json'),
      async handle(context, { cache }) {
        const derivation = parseDerivationName(context.req.param('derivation') ?? '');
        const output = (context.req.param('output') ?? '').slice(0, -'.doi'.length);
        if (!isStoreName(output))
          throw new ServerError('request-malformed', `'${output}' is not the name of an output`);
        await realisations.putBuildTrace(cache, { derivation, output }, await text(context, limits.narinfo));
        return context.body(null, 204);
      },
    },
    {
      method: 'PUT',
      path: '/:cache/debuginfo/:buildId{[0-9a-f]{40}(?:\\.debug)?}',
      access: ['push'],
      about: kept('Send a link from a build id to its debug information', 'application/json'),
      async handle(context, { cache }) {
        const buildId = context.req.param('buildId') ?? '';
        await sideFiles.putDebugInfo(cache, buildId, await text(context, limits.narinfo));
        return context.body(null, 204);
      },
    },
    {
      // Nix sends one where it found none. Ours is always there and says what the cache's settings say.
      method: 'PUT',
      path: '/:cache/nix-cache-info',
      access: ['push'],
      about: {
        ...kept('Send nix-cache-info', 'text/x-nix-cache-info'),
        details: "It is read and dropped: the cache's settings say what it says.",
      },
      async handle(context) {
        await collect(context, limits.narinfo);
        return context.body(null, 204);
      },
    },
  ];
}

function kept(summary: string, type: string): RouteDescription {
  return { summary, group: 'stock', body: { type }, answers: { 204: { what: 'It was taken' } } };
}
