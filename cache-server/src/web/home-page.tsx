import type { FC } from 'hono/jsx';
import { mayManage } from '../auth/access.js';
import { allows, type Token } from '../auth/token.js';
import type { Cache } from '../caches/cache.js';
import type { OpenRoute } from '../http/route.js';
import type { Services } from '../http/services.js';
import { sendPage } from './page.js';
import { type CacheStatistics, queryStatistics } from './statistics.js';
import { Ago, formatCount, Size } from './units.js';

interface ListedCache {
  readonly cache: Cache;
  readonly statistics: CacheStatistics;
}

/** The caches that the visitor may know of. */
export function homeRoute(services: Services): OpenRoute {
  const { caches, sessions, database } = services;
  return {
    method: 'GET',
    path: '/',
    access: 'open',
    isPage: true,
    about: {
      summary: 'The caches, as a page',
      details: 'Those that are public, and those that whoever logged in may see.',
      group: 'pages',
      answers: { 200: { what: 'The page', type: 'text/html' } },
    },
    async handle(context) {
      const token = (await sessions.find(context))?.token;
      const visible = (await caches.list()).filter((cache) => maySee(token, cache));
      const listed = await Promise.all(
        visible.map(async (cache) => ({ cache, statistics: await queryStatistics(database, cache.id) })),
      );
      return sendPage(context, services, { title: 'Larder', body: <Home caches={listed} /> });
    },
  };
}

function maySee(token: Token | undefined, cache: Cache): boolean {
  if (cache.public) return true;
  return token !== undefined && (allows(token, 'pull', cache.name) || mayManage(token, cache.name));
}

const Home: FC<{ caches: readonly ListedCache[] }> = ({ caches }) => (
  <>
    <h1>Binary caches</h1>
    <p class="lead">
      Signed, prebuilt store paths for Nix. Open a cache to see how to use it, and what is in it.
    </p>
    {caches.length === 0 ? (
      <p class="none">There is no public cache here. Log in with a token to see those that it is for.</p>
    ) : (
      <div class="table">
        <table>
          <thead>
            <tr>
              <th scope="col">Cache</th>
              <th scope="col" class="number">
                Paths
              </th>
              <th scope="col" class="number">
                Stored
              </th>
              <th scope="col">Last path</th>
            </tr>
          </thead>
          <tbody data-rows="">
            {caches.map(({ cache, statistics }) => (
              <CacheRow cache={cache} statistics={statistics} />
            ))}
          </tbody>
        </table>
      </div>
    )}
  </>
);

const CacheRow: FC<ListedCache> = ({ cache, statistics: { paths, stored, newest } }) => (
  <tr>
    <td class="wide">
      <a href={`/${cache.name}`}>
        <span class="name">{cache.name}</span>
      </a>{' '}
      {!cache.public && <span class="badge">private</span>}
    </td>
    <td class="number">{formatCount(paths)}</td>
    <td class="number">
      <Size bytes={stored} />
    </td>
    <td class="when">{newest === undefined ? '–' : <Ago time={newest} />}</td>
  </tr>
);
