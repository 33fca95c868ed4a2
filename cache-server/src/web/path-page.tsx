import { formatFingerprint } from '@larder/signing/fingerprint';
import { PublicKey } from '@larder/signing/key';
import type { NarInfo } from '@larder/signing/narinfo';
import { parseSignature } from '@larder/signing/signature';
import { storePathHashPart, storePathName } from '@larder/signing/store-path';
import type { FC } from 'hono/jsx';
import type { Cache } from '../caches/cache.js';
import { queryReferrers } from '../database/tables/path-references.js';
import { queryPaths } from '../database/tables/paths.js';
import type { CacheRoute } from '../http/route.js';
import type { Services } from '../http/services.js';
import { parsePublished } from '../publish/narinfo-text.js';
import { type Closure, queryClosure } from './closure.js';
import { findPath } from './find-path.js';
import { Copy, Crumbs, Figures, sendPage, Tabs } from './page.js';
import { pathUrl } from './path-table.js';
import { Ago, counted, formatCount, formatSize, Size } from './units.js';

/** Referrers that are listed; a compiler's library has as many as there are packages. */
const MAX_REFERRERS = 200;

/** A path: what it is, what it needs, what needs it, who vouches for it. */
export function pathPageRoute(services: Services): CacheRoute {
  const { database } = services;
  return {
    method: 'GET',
    path: '/:cache/path/:hash',
    access: ['pull'],
    isPage: true,
    about: {
      summary: 'A path, as a page',
      group: 'pages',
      answers: { 200: { what: 'The page', type: 'text/html' } },
    },
    async handle(context, { cache }) {
      const row = await findPath(services, cache, context);
      const info = parsePublished(row.narinfo, cache.storeDir);
      const [closure, referrers] = await Promise.all([
        queryClosure(database, cache.id, row.hash_part),
        findReferrers(services, cache, row.hash_part),
      ]);
      const body = (
        <>
          <PathHead cache={cache} info={info} current="Overview" />
          <Overview
            cache={cache}
            info={info}
            created={row.created_at}
            closure={closure}
            referrers={referrers}
          />
        </>
      );
      return sendPage(context, services, { title: `${row.name} – ${cache.name}`, cache, body });
    },
  };
}

interface Neighbour {
  readonly hashPart: string;
  readonly name: string;
  /** Absent for what the cache does not have. */
  readonly size: number | undefined;
}

interface Referrers {
  readonly count: number;
  readonly shown: readonly Neighbour[];
}

async function findReferrers({ database }: Services, cache: Cache, hashPart: string): Promise<Referrers> {
  const all = await queryReferrers(database.read, cache.id, hashPart);
  const rows = await queryPaths(database.read, cache.id, all.slice(0, MAX_REFERRERS));
  const shown = [...rows.values()].map(({ hash_part, name, nar_size }) => ({
    hashPart: hash_part,
    name,
    size: nar_size,
  }));
  return { count: all.length, shown: shown.sort(byName) };
}

function byName(left: Neighbour, right: Neighbour): number {
  return left.name < right.name ? -1 : 1;
}

/** What the pages of a path begin with. */
export const PathHead: FC<{ cache: Cache; info: NarInfo; current: string }> = ({ cache, info, current }) => {
  const hashPart = storePathHashPart(info.storePath);
  return (
    <>
      <Crumbs of={[[cache.name, `/${cache.name}`]]} />
      <h1>{storePathName(info.storePath)}</h1>
      <Tabs
        label="The path's pages"
        current={current}
        of={[
          ['Overview', pathUrl(cache, hashPart)],
          ['Closure', pathUrl(cache, hashPart, 'closure')],
          ['Files', pathUrl(cache, hashPart, 'files')],
          ...(info.deriver === undefined ? [] : ([['Log', pathUrl(cache, hashPart, 'log')]] as const)),
        ]}
      />
    </>
  );
};

interface OverviewProps {
  readonly cache: Cache;
  readonly info: NarInfo;
  readonly created: number;
  readonly closure: Closure | undefined;
  readonly referrers: Referrers;
}

const Overview: FC<OverviewProps> = ({ cache, info, created, closure, referrers }) => {
  const own = storePathHashPart(info.storePath);
  const references = info.references
    .map((path) => {
      const hashPart = storePathHashPart(path);
      return { hashPart, name: storePathName(path), size: closure?.nodes.get(hashPart)?.size };
    })
    .filter(({ hashPart }) => hashPart !== own)
    .sort(byName);
  const atLeast = closure?.isCut === true ? 'at least ' : '';
  return (
    <>
      <Copy text={cache.storeDir.format(info.storePath)} />
      <Figures
        of={[
          ['size', <Size bytes={info.narSize} />],
          info.fileSize === undefined ? undefined : ['to download', <Size bytes={info.fileSize} />],
          closure === undefined
            ? undefined
            : [
                `closure, ${atLeast}${counted(closure.nodes.size, 'path')}`,
                <a href={pathUrl(cache, own, 'closure')}>{formatSize(closure.size)}</a>,
              ],
          ['references', formatCount(references.length)],
          ['referrers', formatCount(referrers.count)],
        ]}
      />
      <Facts cache={cache} info={info} created={created} />
      <div class="columns">
        <section>
          <h2>
            References <small>what it needs</small>
          </h2>
          <Neighbours cache={cache} of={references} none="It needs no other path." />
        </section>
        <section>
          <h2>
            Referrers <small>what needs it</small>
          </h2>
          <Neighbours cache={cache} of={referrers.shown} none="Nothing in this cache needs it." />
          {referrers.count > referrers.shown.length && (
            <p class="soft">
              {formatCount(referrers.shown.length)} of {formatCount(referrers.count)} are shown.
            </p>
          )}
        </section>
      </div>
    </>
  );
};

const Neighbours: FC<{ cache: Cache; of: readonly Neighbour[]; none: string }> = ({ cache, of, none }) =>
  of.length === 0 ? (
    <p class="none">{none}</p>
  ) : (
    <ul class="list" data-rows="" tabindex={-1}>
      {of.map(({ hashPart, name, size }) => (
        <li>
          {size === undefined ? (
            <span title="This cache does not have it">{name}</span>
          ) : (
            <a href={pathUrl(cache, hashPart)}>{name}</a>
          )}
          <span>{size === undefined ? 'elsewhere' : <Size bytes={size} />}</span>
        </li>
      ))}
    </ul>
  );

const Facts: FC<{ cache: Cache; info: NarInfo; created: number }> = ({ cache, info, created }) => (
  <dl class="facts">
    <dt>Came</dt>
    <dd>
      <Ago time={created} />
    </dd>
    <dt>Signatures</dt>
    <dd>
      <Signatures cache={cache} info={info} />
    </dd>
    {info.ca !== undefined && (
      <>
        <dt>Content address</dt>
        <dd>its name is proof of its contents: it needs no signature</dd>
      </>
    )}
    {info.deriver !== undefined && (
      <>
        <dt>Made by</dt>
        <dd>
          <code>{info.deriver}</code>
        </dd>
      </>
    )}
    <dt>NAR</dt>
    <dd>
      <a href={`/${cache.name}/${info.url}`} download={`${storePathName(info.storePath)}.nar.zst`}>
        download
      </a>
      , <code>{info.narHash.toString()}</code>
    </dd>
    <dt>Narinfo</dt>
    <dd>
      <a href={`/${cache.name}/${storePathHashPart(info.storePath)}.narinfo`}>as Nix reads it</a>
    </dd>
  </dl>
);

/** Every Nix trusts it unless told otherwise. */
const NIXOS_KEY = 'cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=';

const Signatures: FC<{ cache: Cache; info: NarInfo }> = ({ cache, info }) => {
  if (info.signatures.length === 0) return <>none</>;
  const fingerprint = formatFingerprint(info, cache.storeDir);
  const nixos = PublicKey.parse(NIXOS_KEY);
  return (
    <ul>
      {info.signatures.map((text) => {
        const signature = parseSignature(text);
        const own = cache.publicKeys.find((key) => key.name === signature.keyName);
        const key = own ?? (signature.keyName === nixos.name ? nixos : undefined);
        return (
          <li title={text}>
            <code>{signature.keyName}</code>{' '}
            {key === undefined ? (
              <span class="soft">another's key, for whoever trusts it</span>
            ) : key.verify(fingerprint, signature) ? (
              <>
                <span class="badge good">valid</span>{' '}
                <span class="soft">
                  {own === undefined
                    ? 'trusted by every Nix that was told nothing else'
                    : 'trusted by users of this cache'}
                </span>
              </>
            ) : (
              <span class="badge bad">false</span>
            )}
          </li>
        );
      })}
    </ul>
  );
};
