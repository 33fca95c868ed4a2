import { parseStorePath, storePathHashPart, storePathName } from '@larder/signing/store-path';
import { z } from 'zod';
import type { Kept } from '../collect/withdraw.js';
import type { CollectionRow } from '../database/tables/collections.js';
import { queryReferrers } from '../database/tables/path-references.js';
import { queryPathNames } from '../database/tables/paths.js';
import { ServerError } from '../errors.js';
import { parseBody } from './admin-bodies.js';
import {
  type CollectionDescription,
  type CollectionList,
  type CollectionPage,
  collectionDescription,
  collectionList,
  collectionPage,
  newCollectionBody,
} from './collection-bodies.js';
import { readJson } from './json.js';
import type { CacheRoute, RouteContext } from './route.js';
import type { Services } from './services.js';

const MAX_PAGE = 10_000;
const LISTED = 50;

/** Taking paths out of a cache: what its retention lets go, or one by one. */
export function collectionRoutes(services: Services): CacheRoute[] {
  const { collector } = services;
  return [
    {
      method: 'POST',
      path: '/api/v1/caches/:cache/collections',
      access: ['delete'],
      about: {
        summary: 'Begin a collection: what the retention lets go is planned, then taken out',
        details: 'It goes on by itself. One at a time: 409 while another has not ended.',
        group: 'retention',
        body: { json: newCollectionBody },
        answers: { 202: { what: 'It has begun', json: collectionDescription } },
      },
      async handle(context, { cache }) {
        const { dryRun } = parseBody(newCollectionBody, await readJson(context, services));
        return context.json(describe(await collector.start(cache, { dryRun })), 202);
      },
    },
    {
      method: 'GET',
      path: '/api/v1/caches/:cache/collections',
      access: ['delete', 'configure'],
      about: {
        summary: 'List the last collections',
        group: 'retention',
        answers: { 200: { what: 'The collections', json: collectionList } },
      },
      async handle(context, { cache }) {
        const rows = await collector.list(cache, LISTED);
        return context.json({ collections: rows.map(describe) } satisfies CollectionList);
      },
    },
    {
      method: 'GET',
      path: '/api/v1/caches/:cache/collections/:id{[0-9]{1,9}}',
      access: ['delete', 'configure'],
      about: {
        summary: 'How far a collection is, and a page of its plan',
        group: 'retention',
        query: {
          after: { what: 'The number of the last path of the page before', schema: z.int().min(0) },
          limit: { what: 'Paths on the page; 1000 by default', schema: z.int().min(0).max(MAX_PAGE) },
        },
        answers: { 200: { what: 'The collection', json: collectionPage } },
      },
      async handle(context, { cache }) {
        const id = Number(context.req.param('id'));
        const row = await collector.find(cache, id);
        if (row === undefined) throw new ServerError('not-found', `there is no collection ${id}`);
        const after = parseCount(context, 'after') ?? 0;
        const limit = Math.min(parseCount(context, 'limit') ?? 1000, MAX_PAGE);
        const paths = limit === 0 ? [] : await collector.plan(row, { after, limit });
        return context.json({
          ...describe(row),
          paths: paths.map((each) => ({
            number: each.seq,
            path: `${each.hash_part}-${each.name}`,
            bytes: each.freed,
            lastUsedAt: new Date(each.last_used_at).toISOString(),
          })),
        } satisfies CollectionPage);
      },
    },
    {
      method: 'DELETE',
      path: '/api/v1/caches/:cache/paths/:storePath',
      access: ['delete'],
      about: {
        summary: 'Take a path out of the cache',
        details: 'Unless a pin names it or another path refers to it: 409 tells which.',
        group: 'retention',
        answers: { 204: { what: 'It is gone for readers; its NAR stays a while' } },
      },
      async handle(context, { cache }) {
        await deletePath(services, cache, context.req.param('storePath') ?? '');
        return context.body(null, 204);
      },
    },
  ];
}

async function deletePath(
  { database, withdrawal }: Services,
  cache: Parameters<Services['withdrawal']['withdraw']>[0],
  text: string,
): Promise<void> {
  const path = parseStorePath(text);
  const hashPart = storePathHashPart(path);
  const names = await queryPathNames(database.read, cache.id, [hashPart]);
  if (names.get(hashPart) !== storePathName(path))
    throw new ServerError('not-found', `the cache '${cache.name}' does not have ${path}`);
  const why = (await withdrawal.withdraw(cache, [hashPart])).kept.get(hashPart);
  if (why === undefined || why === 'absent') return;
  const referrers = why === 'referenced' ? await queryReferrers(database.read, cache.id, hashPart) : [];
  throw new ServerError('path-kept', `${path} stays: ${REASONS[why]}`, {
    fields: { path, why, referrers: referrers.slice(0, 100) },
  });
}

const REASONS: Readonly<Record<Kept, string>> = {
  absent: 'it is not there',
  pinned: "a pin keeps it; 'larder pin list' shows them",
  referenced: 'other paths of the cache refer to it; delete those first',
  busy: 'somebody is publishing it just now; try again',
  used: 'it was used just now',
};

function describe(row: CollectionRow): CollectionDescription {
  return {
    id: row.id,
    state: row.state,
    dryRun: row.dry_run === 1,
    plannedPaths: row.planned_paths,
    plannedBytes: row.planned_bytes,
    withdrawnPaths: row.withdrawn_paths,
    deletedNars: row.deleted_nars,
    deletedBytes: row.deleted_bytes,
    startedAt: new Date(row.started_at).toISOString(),
    ...(row.finished_at === null ? {} : { finishedAt: new Date(row.finished_at).toISOString() }),
    ...(row.error === null ? {} : { error: row.error }),
  };
}

function parseCount(context: RouteContext, name: string): number | undefined {
  const text = context.req.query(name);
  if (text === undefined) return undefined;
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new ServerError('request-malformed', `${name} '${text}' is not a number`);
}
