import { storePathHashPart, storePathName } from '@larder/signing/store-path';
import type { FC } from 'hono/jsx';
import { z } from 'zod';
import type { Cache } from '../caches/cache.js';
import { ServerError } from '../errors.js';
import type { CacheRoute } from '../http/route.js';
import type { Services } from '../http/services.js';
import type { Pin } from '../pins/pins.js';
import { CacheHead } from './cache-page.js';
import { Copy, sendPage } from './page.js';
import { pathUrl } from './path-table.js';
import { Ago, counted } from './units.js';

const PAGE = { 200: { what: 'The page', type: 'text/html' } } as const;
const MAX_REVISIONS = 100;

/** What is kept under a name, and each name's history. */
export function pinsRoute(services: Services): CacheRoute {
  const { pins } = services;
  return {
    method: 'GET',
    path: '/:cache/pins',
    access: ['pull'],
    isPage: true,
    about: {
      summary: 'The pins of a cache, as a page',
      group: 'pages',
      query: { name: { what: 'A pin, whose history is shown', schema: z.string() } },
      answers: PAGE,
    },
    async handle(context, { cache }) {
      const name = context.req.query('name');
      const pin = name === undefined ? undefined : await pins.find(cache, name);
      if (name !== undefined && pin === undefined)
        throw new ServerError('not-found', `the cache ${cache.name} has no pin '${name}'`);
      const body = (
        <>
          <CacheHead cache={cache} current="Pins" />
          {pin === undefined ? (
            <PinTable cache={cache} pins={await pins.list(cache)} />
          ) : (
            <History cache={cache} pin={pin} />
          )}
        </>
      );
      return sendPage(context, services, { title: `Pins – ${cache.name}`, cache, body });
    },
  };
}

const PinTable: FC<{ cache: Cache; pins: readonly Pin[] }> = ({ cache, pins }) => (
  <>
    <p class="lead">Names that keep paths, with all that they need, from being collected.</p>
    {pins.length === 0 ? (
      <>
        <p class="none">Nothing is pinned here.</p>
        <Copy text={`larder pin create ${cache.name} NAME ./result\n`} />
      </>
    ) : (
      <div class="table">
        <table>
          <thead>
            <tr>
              <th scope="col">Pin</th>
              <th scope="col">Stands for</th>
              <th scope="col" class="number">
                Revision
              </th>
              <th scope="col">Since</th>
            </tr>
          </thead>
          <tbody data-rows="">
            {pins.map(({ name, revisions: [newest] }) => (
              <tr>
                <td>
                  <a href={`/${cache.name}/pins?name=${encodeURIComponent(name)}`}>
                    <span class="name">{name}</span>
                  </a>
                </td>
                <td class="wide">{newest !== undefined && <Paths cache={cache} of={newest} />}</td>
                <td class="number">{newest?.revision}</td>
                <td class="when">{newest !== undefined && <Ago time={newest.createdAt} />}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    )}
  </>
);

type Revision = Pin['revisions'][number];

const Paths: FC<{ cache: Cache; of: Revision }> = ({ cache, of }) => (
  <>
    {of.paths.slice(0, 3).map((path, at) => (
      <>
        {at > 0 && ', '}
        <a href={pathUrl(cache, storePathHashPart(path))}>{storePathName(path)}</a>
      </>
    ))}
    {of.paths.length > 3 && <span class="soft"> and {counted(of.paths.length - 3, 'other')}</span>}
  </>
);

const History: FC<{ cache: Cache; pin: Pin }> = ({ cache, pin }) => (
  <>
    <h2>
      {pin.name} <small>{counted(pin.revisions.length, 'revision')}</small>
    </h2>
    <div class="table">
      <table>
        <thead>
          <tr>
            <th scope="col" class="number">
              Revision
            </th>
            <th scope="col">Stood for</th>
            <th scope="col">Made</th>
            <th scope="col">By</th>
            <th scope="col">Kept</th>
          </tr>
        </thead>
        <tbody data-rows="">
          {pin.revisions.slice(0, MAX_REVISIONS).map((revision) => (
            <tr>
              <td class="number">{revision.revision}</td>
              <td class="wide">
                <Paths cache={cache} of={revision} />
              </td>
              <td class="when">
                <Ago time={revision.createdAt} />
              </td>
              <td>{revision.createdBy ?? '–'}</td>
              <td>
                {revision.kept ? <span class="badge good">kept</span> : <span class="badge">history</span>}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  </>
);
