import type { FC } from 'hono/jsx';
import type { Cache } from '../caches/cache.js';
import { describeCache } from '../http/describe-cache.js';
import type { CacheRoute } from '../http/route.js';
import type { Services } from '../http/services.js';
import { HowToUse } from './how-to-use.js';
import { Crumbs, Figures, sendPage, Tabs } from './page.js';
import { PathTable } from './path-table.js';
import type { FoundPath } from './search.js';
import { type CacheStatistics, queryStatistics } from './statistics.js';
import { formatCount, Size } from './units.js';

/** How many of the newest paths are shown. */
const NEWEST = 15;

/** A cache: how to use it, what came last. Its address is the cache's own. */
export function cachePageRoute(services: Services): CacheRoute {
  const { database, config } = services;
  return {
    method: 'GET',
    path: '/:cache',
    access: ['pull'],
    isPage: true,
    about: {
      summary: 'A cache, as a page',
      group: 'pages',
      answers: { 200: { what: 'The page', type: 'text/html' } },
    },
    async handle(context, { cache }) {
      const newest = await database.read
        .selectFrom('paths')
        .select(['hash_part', 'name', 'nar_size', 'created_at'])
        .where('cache_id', '=', cache.id)
        .orderBy('created_at', 'desc')
        .limit(NEWEST)
        .execute();
      const body = (
        <>
          <CacheHead cache={cache} current="Overview" />
          <Overview cache={cache} statistics={await queryStatistics(database, cache.id)} newest={newest} />
          <HowToUse cache={describeCache(cache, config, context)} />
        </>
      );
      return sendPage(context, services, { title: `${cache.name} – Larder`, cache, body });
    },
  };
}

/** What the pages of a cache begin with. */
export const CacheHead: FC<{ cache: Cache; current: string }> = ({ cache, current }) => (
  <>
    <Crumbs of={[]} />
    <h1>
      {cache.name} {!cache.public && <span class="badge">private</span>}
    </h1>
    <Tabs
      label="The cache's pages"
      current={current}
      of={[
        ['Overview', `/${cache.name}`],
        ['Pins', `/${cache.name}/pins`],
        ['Usage', `/${cache.name}/usage`],
      ]}
    />
  </>
);

const Overview: FC<{ cache: Cache; statistics: CacheStatistics; newest: readonly FoundPath[] }> = ({
  cache,
  statistics: { paths, unpacked, stored },
  newest,
}) => (
  <>
    <Figures
      of={[
        ['paths', formatCount(paths)],
        ['stored', <Size bytes={stored} />],
        ['unpacked', <Size bytes={unpacked} />],
        ['priority', String(cache.priority)],
      ]}
    />
    <h2>
      Newest paths{' '}
      <small>
        <a href="#use">how to use this cache</a>
      </small>
    </h2>
    {newest.length === 0 ? (
      <p class="none">Nothing was published here yet. How to is below.</p>
    ) : (
      <PathTable cache={cache} paths={newest} />
    )}
  </>
);
