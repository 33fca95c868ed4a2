import { createHash } from 'node:crypto';
import { posix } from 'node:path';
import type { ListedDirectory } from '@larder/signing/nar-listing';
import { lookup } from 'mime-types';
import type { Grant } from '../auth/access.js';
import { queryPaths } from '../database/tables/paths.js';
import { ServerError } from '../errors.js';
import { type FoundSymlink, NarFiles } from '../nars/nar-files.js';
import { objectKeys } from '../storage/object-key.js';
import { readObject } from '../storage/storage.js';
import { NIX32 } from './path-parameters.js';
import type { CacheRoute, RouteContext } from './route.js';
import { sendBytes } from './send.js';
import type { Services } from './services.js';

/**
 * Files are whatever someone built: a page among them must not act as one of this server's. Sandboxed, it has an origin of
 * its own.
 */
const FOREIGN = { 'X-Content-Type-Options': 'nosniff', 'Content-Security-Policy': 'sandbox' };

/** Single files out of NARs: by path, as harmonia serves them, and by build id, as debuginfod does. */
export function serveRoutes(services: Services): CacheRoute[] {
  const { nars, database, storage } = services;
  const files = new NarFiles(services);

  const serve = async (context: RouteContext, grant: Grant): Promise<Response> => {
    const { cache } = grant;
    const hashPart = context.req.param('hash') ?? '';
    const path = (context.req.param('path') ?? '').split('/').filter((name) => name !== '');
    const row = (await queryPaths(database.read, cache.id, [hashPart])).get(hashPart);
    if (row === undefined) throw absent(context);
    const found = await files.find(cache, row.nar_hash, path);
    if (found === undefined) throw absent(context);
    const place = {
      base: `/${cache.name}/serve`,
      root: `${hashPart}-${row.name}`,
      storeDir: cache.storeDir.path,
    };
    if (found.type === 'symlink') return context.redirect(followSymlink(found, place), 302);
    if (found.type === 'directory')
      return context.html(
        formatDirectory(found, [place.base, hashPart, ...path.map(encodeURIComponent)].join('/')),
        200,
        {
          'Content-Security-Policy': "default-src 'none'",
          'Cache-Control': 'no-cache',
        },
      );
    return sendFile(context, grant, { narHash: row.nar_hash, name: path.at(-1) ?? row.name, ...found });
  };

  async function sendFile(
    context: RouteContext,
    { cache }: Grant,
    file: {
      readonly narHash: string;
      readonly name: string;
      readonly size: number;
      readonly narOffset?: number;
    },
  ): Promise<Response> {
    const nar = await nars.find(cache, file.narHash);
    if (nar === undefined) throw absent(context);
    const { narOffset = 0, size } = file;
    const etag = createHash('sha1').update(`${file.narHash}/${narOffset}/${size}`).digest('base64url');
    const type = lookup(file.name) || 'application/octet-stream';
    const { incoming, outgoing } = context.env;
    return sendBytes(
      {
        size,
        read: ({ start, end }) =>
          files.read(cache, nar, { offset: narOffset + start, length: end - start + 1 }),
      },
      {
        incoming,
        outgoing,
        etag: `"${etag}"`,
        headers: {
          ...FOREIGN,
          'Content-Type': type.startsWith('text/') ? `${type}; charset=utf-8` : type,
          'Cache-Control': `${cache.public ? 'public' : 'private'}, max-age=3600`,
        },
      },
    );
  }

  /** The NarHash of what a link calls `../nar/…`. */
  async function findArchive({ cache }: Grant, archive: string): Promise<string | undefined> {
    const file = archive.split('/').at(-1) ?? '';
    const narHash = new RegExp(`^(${NIX32}{52})\\.nar\\.zst$`).exec(file)?.[1];
    if (narHash !== undefined && (await nars.find(cache, narHash)) !== undefined) return narHash;
    return (await nars.findUploaded(cache, file))?.nar_hash;
  }

  const about = {
    summary: 'Read a file out of a path, or list a directory of it',
    details: 'Takes one range. Symlinks are redirects: within the path, or to another path of the cache.',
    group: 'reading',
    answers: { 200: { what: 'The file, or a page with the names', type: '*/*' }, 302: { what: 'A symlink' } },
  } as const;
  const hash = `:hash{${NIX32}{32}}`;
  return [
    { method: 'GET', path: `/:cache/serve/${hash}`, access: ['pull'], about, handle: serve },
    { method: 'GET', path: `/:cache/serve/${hash}/:path{.*}`, access: ['pull'], about, handle: serve },
    {
      method: 'GET',
      path: '/:cache/buildid/:buildId{[0-9a-f]{40}}/debuginfo',
      access: ['pull'],
      about: {
        summary: 'Read debug information, as debuginfod serves it',
        details: 'With `DEBUGINFOD_URLS=https://host/<cache>` gdb and others find it by themselves.',
        group: 'reading',
        answers: { 200: { what: 'An ELF file', type: 'application/octet-stream' } },
      },
      async handle(context, grant) {
        const buildId = context.req.param('buildId') ?? '';
        // Nix writes it under the name that the file has below lib/debug/.build-id.
        const [own, stock] = [buildId, `${buildId}.debug`].map((name) =>
          objectKeys.debugInfo(grant.cache.name, name),
        ) as [string, string];
        const link = (await readObject(storage, stock)) ?? (await readObject(storage, own));
        if (link === undefined) throw absent(context);
        const { archive, member } = JSON.parse(link.toString()) as { archive: string; member: string };
        const narHash = await findArchive(grant, archive);
        const path = member.split('/').filter((name) => name !== '');
        const found = narHash === undefined ? undefined : await files.find(grant.cache, narHash, path);
        if (narHash === undefined || found?.type !== 'regular') throw absent(context);
        return sendFile(context, grant, { narHash, name: '', ...found });
      },
    },
  ];
}

interface Place {
  /** `/<cache>/serve`. */
  readonly base: string;
  /** The base name of the store path. */
  readonly root: string;
  readonly storeDir: string;
}

/** Where a symlink leads: to a file of this path, or of another path in the store. @throws `not-found` for elsewhere */
function followSymlink({ parents, target, rest }: FoundSymlink, { base, root, storeDir }: Place): string {
  const from = posix.join(storeDir, root, ...parents);
  const path = posix.join(posix.resolve(from, target), ...rest);
  const match = new RegExp(`^(${NIX32}{32})-[^/]+(/.*)?$`).exec(path.slice(storeDir.length + 1));
  if (!path.startsWith(`${storeDir}/`) || match === null)
    throw new ServerError('not-found', `it is a symlink that leads out of the store, to ${target}`);
  const names = (match[2] ?? '').split('/').filter((name) => name !== '');
  return [base, match[1], ...names.map(encodeURIComponent)].join('/');
}

/** @param at the URL of the directory, encoded, without a slash at the end */
function formatDirectory({ entries }: ListedDirectory, at: string): string {
  const rows = Object.entries(entries).map(([name, node]) => {
    const what = node.type === 'regular' ? `${node.size}` : node.type === 'symlink' ? `→ ${node.target}` : '';
    const shown = `${name}${node.type === 'directory' ? '/' : ''}`;
    const href = escapeHtml(`${at}/${encodeURIComponent(name)}`);
    return `<tr><td><a href="${href}">${escapeHtml(shown)}</a><td>${escapeHtml(what)}`;
  });
  const title = escapeHtml(decodeURIComponent(at));
  return `<!doctype html>\n<meta charset="utf-8">\n<title>${title}</title>\n<h1>${title}</h1>\n<table>\n${rows.join('\n')}\n</table>\n`;
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

function absent(context: RouteContext): ServerError {
  return new ServerError('not-found', `there is no ${context.req.path}`);
}
