import { promisify } from 'node:util';
import { brotliCompress, brotliDecompress, constants } from 'node:zlib';
import type { Compression } from '@larder/signing/compression';
import type { Hash } from '@larder/signing/hash';
import type { Cache } from '../caches/cache.js';
import type { Database } from '../database/database.js';
import { insertNarFacts, type NarFactsRow, queryNarFacts } from '../database/tables/nar-facts.js';
import { queryNarFile, upsertNarFile } from '../database/tables/nar-files.js';
import { insertNar, type NarRow, queryNar } from '../database/tables/nars.js';
import { ServerError } from '../errors.js';
import { Limiter } from '../limiter.js';
import { objectKeys } from '../storage/object-key.js';
import type { ObjectStorage } from '../storage/storage.js';
import type { ContentFacts, ContentHashRequest } from './content-facts.js';
import { unpackHashParts } from './hash-parts.js';
import type { IngestedNar, NarReader, NarReading } from './nar-reader.js';

const compress = promisify(brotliCompress);
const decompress = promisify(brotliDecompress);
/** Listings shrink well at the fastest useful level. */
const BROTLI = { params: { [constants.BROTLI_PARAM_QUALITY]: 4 } };

export interface NarUpload {
  readonly compression: Compression;
  /** What the client says the NAR is, if it does: nix32 without a prefix. */
  readonly narHash?: string;
  readonly narSize?: number;
  /** What a stock client calls it: `<file hash>.nar.xz`. */
  readonly fileName?: string;
  readonly signal?: AbortSignal;
}

type OnReceived = (cache: Cache, nar: IngestedNar) => void;

export interface NarStoreOptions {
  readonly database: Database;
  readonly storage: ObjectStorage;
  readonly reader: NarReader;
  /** Hears of every upload that is stored now. */
  readonly onReceived?: OnReceived;
}

/**
 * The NARs of all caches. A NAR's key is its NarHash, so no upload can change what a narinfo names.
 *
 * Crash invariants: an upload is staged while it is verified, and published to its key only when all of it was sound; it
 * enters the database after that. So a row means bytes that are there, durable and verified; a crash between the two leaves
 * an object without a row, which the next upload of it overwrites with the same contents.
 */
export class NarStore {
  readonly #database: Database;
  readonly #storage: ObjectStorage;
  readonly #reader: NarReader;
  readonly #onReceived: OnReceived | undefined;
  /** A commit of thousands must not open thousands of files. */
  readonly #rereading = new Limiter(16);

  constructor(options: NarStoreOptions) {
    this.#database = options.database;
    this.#storage = options.storage;
    this.#reader = options.reader;
    this.#onReceived = options.onReceived;
  }

  async find(cache: Cache, narHash: string): Promise<NarRow | undefined> {
    return queryNar(this.#database.read, cache.id, narHash);
  }

  /** The NAR that a stock client uploaded under this name. */
  async findUploaded(cache: Cache, fileName: string): Promise<NarRow | undefined> {
    const narHash = await queryNarFile(this.#database.read, cache.id, fileName);
    return narHash === undefined ? undefined : this.find(cache, narHash);
  }

  /**
   * Takes an upload, reading it once: verified, compressed anew, stored and recorded, in that order.
   * @throws `nar-malformed`, `codec-…`, `nar-hash-mismatch`, `nar-size-mismatch`, `nar-file-mismatch`: then nothing is kept
   */
  async receive(cache: Cache, source: AsyncIterable<Uint8Array>, upload: NarUpload): Promise<NarRow> {
    const { compression, signal, narHash } = upload;
    const running = this.#reader.ingest(source, { compression, ...(signal ? { signal } : {}) });
    await using staged = await this.#storage.stage(running.output, {
      contentType: 'application/x-nix-nar',
      ...(narHash === undefined ? {} : { key: objectKeys.nar(cache.name, narHash) }),
      ...(signal ? { signal } : {}),
    });
    const nar = await running.result;
    checkClaims(nar, upload);
    const hash = bare(nar.narHash);
    const known = await this.find(cache, hash);
    if (known === undefined) await staged.publish(objectKeys.nar(cache.name, hash));
    const row = await this.#record(cache, nar, { known, fileName: upload.fileName });
    this.#onReceived?.(cache, nar);
    return row;
  }

  async #record(
    cache: Cache,
    nar: IngestedNar,
    { known, fileName }: { readonly known: NarRow | undefined; readonly fileName: string | undefined },
  ): Promise<NarRow> {
    const row: NarRow = known ?? {
      cache_id: cache.id,
      nar_hash: bare(nar.narHash),
      nar_size: nar.narSize,
      file_hash: bare(nar.fileHash),
      file_size: nar.fileSize,
      created_at: Date.now(),
    };
    const facts = await packFacts(row, nar);
    await this.#database.write.transaction().execute(async (db) => {
      await insertNar(db, row);
      await insertNarFacts(db, facts);
      if (fileName !== undefined)
        await upsertNarFile(db, { cache_id: cache.id, file_name: fileName, nar_hash: row.nar_hash });
    });
    return row;
  }

  /** What can be asked of a stored NAR. */
  facts(cache: Cache, narHash: string): ContentFacts {
    let kept: Promise<NarFactsRow | undefined> | undefined;
    let reading: Promise<NarReading> | undefined;
    const recall = () => (kept ??= queryNarFacts(this.#database.read, cache.id, narHash));
    const reread = () => (reading ??= this.#reread(cache, narHash, (body) => this.#reader.survey(body)));
    return {
      findHashParts: async (wanted) => {
        const packed = (await recall())?.hash_parts ?? (await reread()).hashParts;
        if (packed !== undefined) return intersect(unpackHashParts(packed), wanted);
        return this.#reread(cache, narHash, (body) => this.#reader.findHashParts(body, wanted));
      },
      listing: async () => {
        const row = await recall();
        if (row === undefined) return (await reread()).listing;
        return row.listing === null ? undefined : (await decompress(row.listing)).toString('utf8');
      },
      computeContentHash: (request: ContentHashRequest) =>
        this.#reread(cache, narHash, (body) => this.#reader.computeContentHash(body, request)),
    };
  }

  async #reread<T>(
    cache: Cache,
    narHash: string,
    read: (body: AsyncIterable<Uint8Array>) => Promise<T>,
  ): Promise<T> {
    return this.#rereading.run(() => this.#rereadNow(objectKeys.nar(cache.name, narHash), read));
  }

  async #rereadNow<T>(key: string, read: (body: AsyncIterable<Uint8Array>) => Promise<T>): Promise<T> {
    await using stored = await this.#storage.get(key);
    if (stored === undefined)
      throw new ServerError(
        'storage-failed',
        `${key} is recorded but not in the storage; run 'larder admin reindex'`,
      );
    // Awaited here: the object is closed on leaving.
    return await read(stored.body);
  }
}

function checkClaims(nar: IngestedNar, upload: NarUpload): void {
  const hash = bare(nar.narHash);
  if (upload.narHash !== undefined && upload.narHash !== hash)
    throw new ServerError(
      'nar-hash-mismatch',
      `the NAR was to have the hash sha256:${upload.narHash}, it has sha256:${hash}`,
      {
        fields: { expected: `sha256:${upload.narHash}`, actual: `sha256:${hash}` },
      },
    );
  if (upload.narSize !== undefined && upload.narSize !== nar.narSize)
    throw new ServerError(
      'nar-size-mismatch',
      `the NAR was to have ${upload.narSize} bytes, it has ${nar.narSize}`,
      {
        fields: { expected: upload.narSize, actual: nar.narSize },
      },
    );
  // Nix names the file by its hash, and a copy of our own bucket by the NarHash; other tools' names mean nothing.
  const named = /^([0-9abcdfghijklmnpqrsvwxyz]{52})\.nar/.exec(upload.fileName ?? '')?.[1];
  if (named === undefined || named === bare(nar.uploadHash) || named === hash) return;
  throw new ServerError(
    'nar-file-mismatch',
    `the file is named by the hash ${named}, but has ${bare(nar.uploadHash)}: it was damaged on the way`,
    { fields: { expected: named, actual: bare(nar.uploadHash) } },
  );
}

async function packFacts(nar: NarRow, reading: NarReading): Promise<NarFactsRow> {
  const { listing, hashParts } = reading;
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

function bare(hash: Hash): string {
  return hash.format('nix32', { prefix: false });
}
