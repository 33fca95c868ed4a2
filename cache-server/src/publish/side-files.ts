import { isDerivationPath, parseStorePath, type StorePath } from '@larder/signing/store-path';
import { z } from 'zod';
import type { Cache } from '../caches/cache.js';
import type { Database } from '../database/database.js';
import {
  type DebugLinkRow,
  deleteDebugLinks,
  queryDebugLinks,
  upsertDebugLink,
} from '../database/tables/debug-links.js';
import { queryNarFile } from '../database/tables/nar-files.js';
import { queryNar } from '../database/tables/nars.js';
import { ServerError } from '../errors.js';
import { narPath, narUrlPath, objectKeys } from '../storage/object-key.js';
import type { ObjectStorage } from '../storage/storage.js';

const debugInfo = z.object({ archive: z.string(), member: z.string() });

/** Build logs and links to debug information: what caches keep beside paths. */
export class SideFiles {
  readonly #database: Database;
  readonly #storage: ObjectStorage;

  constructor(options: { readonly database: Database; readonly storage: ObjectStorage }) {
    this.#database = options.database;
    this.#storage = options.storage;
  }

  /** Keeps a build's log, in the place of an older one. */
  async putLog(cache: Cache, derivation: StorePath, text: Uint8Array): Promise<void> {
    await this.#storage.put(objectKeys.log(cache.name, derivation), text, {
      contentType: 'text/plain; charset=utf-8',
    });
  }

  /**
   * Keeps a link from a build id to a file in a NAR. Clients name the NAR as they are about to upload it; readers must find
   * it as we keep it, so the link is written when the NAR is here.
   */
  async putDebugInfo(cache: Cache, buildId: string, text: string): Promise<void> {
    const { archive, member } = parseDebugInfo(text);
    const file_name = archive.replace(/^\.\.\/nar\//, '');
    const link = { cache_id: cache.id, build_id: buildId, file_name, member };
    const narHash = await queryNarFile(this.#database.read, cache.id, file_name);
    if (narHash !== undefined) return this.#writeLink(cache, link, narHash);
    await upsertDebugLink(this.#database.write, link);
    // The NAR may have come between the look and the note.
    const now = await queryNarFile(this.#database.read, cache.id, file_name);
    if (now !== undefined) await this.settleDebugInfo(cache, file_name, now);
  }

  /** Writes the links that waited for this NAR. */
  async settleDebugInfo(cache: Cache, fileName: string, narHash: string): Promise<void> {
    const links = await queryDebugLinks(this.#database.read, cache.id, fileName);
    if (links.length === 0) return;
    for (const link of links) await this.#writeLink(cache, link, narHash);
    await deleteDebugLinks(this.#database.write, cache.id, fileName);
  }

  async #writeLink(cache: Cache, link: DebugLinkRow, narHash: string): Promise<void> {
    const nar = await queryNar(this.#database.read, cache.id, narHash);
    const archive = nar === undefined ? narUrlPath(narHash) : narPath(nar);
    const text = JSON.stringify({ archive: `../${archive}`, member: link.member });
    await this.#storage.put(objectKeys.debugInfo(cache.name, link.build_id), Buffer.from(text), {
      contentType: 'application/json',
    });
  }
}

/** @throws `request-malformed` */
export function parseDebugInfo(text: string): z.output<typeof debugInfo> {
  try {
    const parsed = debugInfo.parse(JSON.parse(text));
    if (/^\.\.\/nar\/[^/]+$/.test(parsed.archive)) return parsed;
  } catch {
    // Said below.
  }
  throw new ServerError(
    'request-malformed',
    'debug information must be {"archive": "../nar/…", "member": "…"}',
  );
}

/** @throws `request-malformed` unless `name` is a derivation's base name */
export function parseDerivationName(name: string): StorePath {
  const path = parseStorePath(name);
  if (!isDerivationPath(path))
    throw new ServerError(
      'request-malformed',
      `'${name}' is not a derivation: its name does not end in .drv`,
    );
  return path;
}
