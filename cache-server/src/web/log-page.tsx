import { stripVTControlCharacters } from 'node:util';
import type { CacheRoute } from '../http/route.js';
import type { Services } from '../http/services.js';
import { parsePublished } from '../publish/narinfo-text.js';
import { objectKeys } from '../storage/object-key.js';
import { findPath } from './find-path.js';
import { sendPage } from './page.js';
import { PathHead } from './path-page.js';
import { readObject } from './read-object.js';
import { formatSize } from './units.js';

/** Of long logs the end is shown: that is where it is said what went wrong. */
const MAX_LOG = 2 ** 20;

/** The log of the build that made a path. */
export function logRoute(services: Services): CacheRoute {
  return {
    method: 'GET',
    path: '/:cache/path/:hash/log',
    access: ['pull'],
    isPage: true,
    about: {
      summary: 'The log of the build of a path, as a page',
      group: 'pages',
      answers: { 200: { what: 'The page', type: 'text/html' } },
    },
    async handle(context, { cache }) {
      const row = await findPath(services, cache, context);
      const info = parsePublished(row.narinfo, cache.storeDir);
      const log =
        info.deriver === undefined
          ? undefined
          : await readObject(services.storage, objectKeys.log(cache.name, info.deriver), {
              limit: MAX_LOG,
              fromEnd: true,
            });
      const body = (
        <>
          <PathHead cache={cache} info={info} current="Log" />
          {log === undefined ? (
            <p class="none">This cache has no log of its build.</p>
          ) : (
            <>
              <p class="crumbs">
                <a href={`/${cache.name}/log/${info.deriver}`}>The whole log</a>
                <span>
                  · {formatSize(log.size)}
                  {log.size > MAX_LOG && `, of which the last ${formatSize(MAX_LOG)} are shown`}
                </span>
              </p>
              <pre class="log" tabindex={0}>
                {stripVTControlCharacters(log.bytes.toString('utf8'))}
              </pre>
            </>
          )}
        </>
      );
      return sendPage(context, services, { title: `${row.name}: log`, cache, body });
    },
  };
}
