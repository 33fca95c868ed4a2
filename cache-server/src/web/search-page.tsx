import type { FC } from 'hono/jsx';
import { z } from 'zod';
import type { Cache } from '../caches/cache.js';
import { queryPathNames } from '../database/tables/paths.js';
import type { CacheRoute } from '../http/route.js';
import type { Services } from '../http/services.js';
import { Crumbs, sendPage } from './page.js';
import { PathTable, pathUrl } from './path-table.js';
import { type SearchResult, searchPaths, wholeHash } from './search.js';
import { counted } from './units.js';

const MAX_QUESTION = 200;

/** Paths by name or hash; a whole store path goes straight to its page. */
export function searchRoute(services: Services): CacheRoute {
  const { database } = services;
  return {
    method: 'GET',
    path: '/:cache/search',
    access: ['pull'],
    isPage: true,
    about: {
      summary: 'Paths by name or hash, as a page',
      group: 'pages',
      query: { q: { what: 'Words of a name, or the beginning of a hash', schema: z.string() } },
      answers: { 200: { what: 'The page', type: 'text/html' } },
    },
    async handle(context, { cache }) {
      const question = (context.req.query('q') ?? '').trim().slice(0, MAX_QUESTION);
      const hash = wholeHash(question);
      if (hash !== undefined && (await queryPathNames(database.read, cache.id, [hash])).size > 0)
        return context.redirect(pathUrl(cache, hash), 303);
      const result = await searchPaths(database, cache.id, hash ?? question);
      return sendPage(context, services, {
        title: `${question} – ${cache.name}`,
        cache,
        question,
        body: <Results cache={cache} question={question} result={result} />,
      });
    },
  };
}

const Results: FC<{ cache: Cache; question: string; result: SearchResult }> = ({
  cache,
  question,
  result,
}) => {
  const { byHash, byName, hasMore } = result;
  const found = byHash.length + byName.length;
  return (
    <>
      <Crumbs of={[[cache.name, `/${cache.name}`]]} />
      <h1>
        {question === '' ? 'Search' : question}{' '}
        {question !== '' && (
          <small>{hasMore ? `the first ${counted(found, 'path')}` : counted(found, 'path')}</small>
        )}
      </h1>
      {byHash.length > 0 && (
        <>
          <h2>By hash</h2>
          <PathTable cache={cache} paths={byHash} />
        </>
      )}
      {byName.length > 0 && (
        <>
          {byHash.length > 0 && <h2>By name</h2>}
          <PathTable cache={cache} paths={byName} />
        </>
      )}
      {found === 0 && (
        <p class="none">
          {question === ''
            ? 'Type the beginning of a word of a name, or of a hash.'
            : 'No path has this. Names are found by the beginnings of their words, hashes from their fourth character on.'}
        </p>
      )}
      {hasMore && <p class="soft">There are more: another word narrows it down.</p>}
    </>
  );
};
