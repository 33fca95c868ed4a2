import { promisify } from 'node:util';
import { brotliCompress, brotliDecompress, constants } from 'node:zlib';
import type { Cache } from '../caches/cache.js';
import type { Database } from '../database/database.js';
import { type NarFactsRow, queryNarFacts } from '../database/tables/nar-facts.js';
import { type NarRow, narCompression, queryNar } from '../database/tables/nars.js';
import { ServerError } from '../errors.js';
import { Limiter } from '../limiter.js';
import { narKey, objectKeys } from '../storage/object-key.js';
import type { ObjectStorage } from '../storage/storage.js';
import type { ContentFacts, ContentHashRequest } from './content-facts.js';
import { unpackHashParts } from './hash-parts.js';
import type { NarReader, NarReading, StoredForm } from './nar-reader.js';

const compress = promisify(brotliCompress);
const decompress = promisify(brotliDecompress);
/** Listings shrink well at the fastest useful level. */
const BROTLI = { params: { [constants.BROTLI_PARAM_QUALITY]: 4 } };

type ReadNar<T> = (body: AsyncIterable<Uint8Array>, form: StoredForm) => Promise<T>;

export interface StoredFactsOptions {
  readonly database: Database;
  readonly storage: ObjectStorage;
  readonly reader: NarReader;
}

/** What can be asked of stored NARs: what was kept of their uploads, or else what reading them again tells. */
export class StoredFacts {
  readonly #options: StoredFactsOptions;
  /** A commit of thousands must not open thousands of files. */
  readonly #rereading = new Limiter(16);

  constructor(options: StoredFactsOptions) {
    this.#options = options;
  }

  of(cache: Cache, narHash: string): ContentFacts {
    const { database, reader } = this.#options;
    let kept: Promise<NarFactsRow | undefined> | undefined;
    let reading: Promise<NarReading> | undefined;
    const recall = () => (kept ??= queryNarFacts(database.read, cache.id, narHash));
    const again = <T>(read: ReadNar<T>): Promise<T> =>
      this.#rereading.run(() => this.#reread(cache, narHash, read));
    const reread = () => (reading ??= again((body, form) => reader.survey(body, form)));
    return {
      findHashParts: async (wanted) => {
        const packed = (await recall())?.hash_parts ?? (await reread()).hashParts;
        if (packed !== undefined) return intersect(unpackHashParts(packed), wanted);
        return again((body, form) => reader.findHashParts(body, { ...form, wanted }));
      },
      listing: async () => {
        const row = await recall();
        if (row === undefined) return (await reread()).listing;
        return row.listing === null ? undefined : (await decompress(row.listing)).toString('utf8');
      },
      computeContentHash: (request: ContentHashRequest) =>
        again((body, form) => reader.computeContentHash(body, { ...form, request })),
    };
  }

  async #reread<T>(cache: Cache, narHash: string, read: ReadNar<T>): Promise<T> {
    const { database, storage } = this.#options;
    const row = await queryNar(database.read, cache.id, narHash);
    const key = row === undefined ? objectKeys.nar(cache.name, narHash) : narKey(cache.name, row);
    await using stored = await storage.get(key);
    if (stored === undefined || row === undefined)
      throw new ServerError(
        'storage-failed',
        `${key} is recorded but not in the storage; run 'larder admin fsck'`,
      );
    // Awaited here: the object is closed on leaving.
    return await read(stored.body, { compression: narCompression(row), maxSize: row.nar_size });
  }
}

/** What is kept of an upload, so that it need not be read again. */
export async function packFacts(nar: NarRow, { listing, hashParts }: NarReading): Promise<NarFactsRow> {
  return {
    cache_id: nar.cache_id,
    nar_hash: nar.nar_hash,
    hash_parts: hashParts ?? null,
    listing: listing === undefined ? null : await compress(listing, BROTLI),
  };
}

function intersect(found: ReadonlySet<string>, wanted: readonly string[]): ReadonlySet<string> {
  return new Set(wanted.filter((part) => found.has(part)));
}
