import { type NarListing, parseNarListing } from '@larder/signing/nar-listing';
import type { FC } from 'hono/jsx';
import { z } from 'zod';
import type { Cache } from '../caches/cache.js';
import { ServerError } from '../errors.js';
import type { CacheRoute } from '../http/route.js';
import type { Services } from '../http/services.js';
import { parsePublished } from '../publish/narinfo-text.js';
import { objectKeys } from '../storage/object-key.js';
import { findPath } from './find-path.js';
import { sendPage } from './page.js';
import { PathHead } from './path-page.js';
import { pathUrl } from './path-table.js';
import { readObject } from './read-object.js';
import { counted, Size } from './units.js';

const MAX_LISTING = 32 * 2 ** 20;
const MAX_ENTRIES = 2000;

/** The files of a path, a directory at a time. */
export function filesRoute(services: Services): CacheRoute {
  return {
    method: 'GET',
    path: '/:cache/path/:hash/files',
    access: ['pull'],
    isPage: true,
    about: {
      summary: 'The files of a path, as a page',
      group: 'pages',
      query: { at: { what: 'A directory in it', schema: z.string() } },
      answers: { 200: { what: 'The page', type: 'text/html' } },
    },
    async handle(context, { cache }) {
      const row = await findPath(services, cache, context);
      const info = parsePublished(row.narinfo, cache.storeDir);
      const root = await readListing(services, cache, row.hash_part);
      const names = (context.req.query('at') ?? '').split('/').filter((name) => name !== '');
      const entry = root === undefined ? undefined : entryAt(root, names);
      if (root !== undefined && entry === undefined)
        throw new ServerError('not-found', `${row.name} has no file ${names.join('/')}`);
      const base = pathUrl(cache, row.hash_part, 'files');
      const body = (
        <>
          <PathHead cache={cache} info={info} current="Files" />
          {entry === undefined ? (
            <p class="none">There is no listing of this path, or it is too large to show.</p>
          ) : (
            <Directory base={base} root={row.name} names={names} entry={entry} />
          )}
        </>
      );
      return sendPage(context, services, { title: `${row.name}: files`, cache, body });
    },
  };
}

async function readListing(
  { storage }: Services,
  cache: Cache,
  hashPart: string,
): Promise<NarListing | undefined> {
  const listing = await readObject(storage, objectKeys.listing(cache.name, hashPart), { limit: MAX_LISTING });
  if (listing === undefined || listing.size > MAX_LISTING) return undefined;
  return parseNarListing(listing.bytes.toString('utf8'));
}

function entryAt(root: NarListing, names: readonly string[]): NarListing | undefined {
  let entry: NarListing | undefined = root;
  for (const name of names) {
    if (entry?.type !== 'directory' || !Object.hasOwn(entry.entries, name)) return undefined;
    entry = entry.entries[name];
  }
  return entry;
}

interface DirectoryProps {
  readonly base: string;
  readonly root: string;
  readonly names: readonly string[];
  readonly entry: NarListing;
}

const Directory: FC<DirectoryProps> = ({ base, root, names, entry }) => {
  const entries = entry.type === 'directory' ? Object.entries(entry.entries) : [];
  const files =
    entries.length === 0 && entry.type !== 'directory' ? [[names.at(-1) ?? root, entry] as const] : entries;
  const totals = new Map(files.map(([name, each]) => [name, totalOf(each)]));
  const sorted = [...files].sort(
    ([left, one], [right, other]) =>
      Number(other.type === 'directory') - Number(one.type === 'directory') || (left < right ? -1 : 1),
  );
  const sum = [...totals.values()].reduce((total, { size }) => total + size, 0);
  const count = [...totals.values()].reduce((total, each) => total + each.files, 0);
  return (
    <>
      <p class="crumbs">
        <a href={base}>{root}</a>
        {names.map((name, at) => (
          <>
            <span aria-hidden="true">/</span>
            <a href={urlOf(base, names.slice(0, at + 1))}>{name}</a>
          </>
        ))}
        <span>
          · {counted(count, 'file')}, <Size bytes={sum} />
        </span>
      </p>
      <div class="table">
        <table>
          <thead>
            <tr>
              <th scope="col">Name</th>
              <th scope="col" class="number">
                Files
              </th>
              <th scope="col" class="number">
                Size
              </th>
            </tr>
          </thead>
          <tbody data-rows="">
            {sorted.slice(0, MAX_ENTRIES).map(([name, each]) => (
              <Entry name={name} entry={each} url={urlOf(base, [...names, name])} total={totals.get(name)} />
            ))}
          </tbody>
        </table>
      </div>
      {sorted.length > MAX_ENTRIES && <p class="soft">The first {MAX_ENTRIES} are shown.</p>}
    </>
  );
};

const Entry: FC<{ name: string; entry: NarListing; url: string; total: Total | undefined }> = ({
  name,
  entry,
  url,
  total,
}) => (
  <tr>
    <td class="wide mono">
      {entry.type === 'directory' ? <a href={url}>{name}/</a> : name}
      {entry.type === 'symlink' && <span class="soft"> → {entry.target}</span>}{' '}
      {entry.type === 'regular' && entry.executable === true && <span class="badge">executable</span>}
    </td>
    <td class="number">{entry.type === 'directory' ? (total?.files ?? 0) : ''}</td>
    <td class="number">{entry.type === 'symlink' ? 'link' : <Size bytes={total?.size ?? 0} />}</td>
  </tr>
);

function urlOf(base: string, names: readonly string[]): string {
  return names.length === 0 ? base : `${base}?at=${encodeURIComponent(names.join('/'))}`;
}

interface Total {
  readonly files: number;
  readonly size: number;
}

/** Files and bytes of a tree. Without recursion: trees may be deep. */
function totalOf(root: NarListing): Total {
  let files = 0;
  let size = 0;
  const open: NarListing[] = [root];
  for (let entry = open.pop(); entry !== undefined; entry = open.pop()) {
    if (entry.type === 'directory') open.push(...Object.values(entry.entries));
    else files++;
    if (entry.type === 'regular') size += entry.size;
  }
  return { files, size };
}
