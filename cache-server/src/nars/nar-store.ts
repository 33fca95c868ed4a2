import type { Cache } from '../caches/cache.js';
import type { Database } from '../database/database.js';
import { queryNarFile } from '../database/tables/nar-files.js';
import { type NarRow, prolongNar, queryNar } from '../database/tables/nars.js';
import type { Lease, Leases } from '../leases/leases.js';
import { bareHash } from '../publish/narinfo-text.js';
import { objectKeys } from '../storage/object-key.js';
import type { ObjectStorage } from '../storage/storage.js';
import type { ContentFacts } from './content-facts.js';
import { NarIntake, type NarUpload, type VerifiedUpload } from './nar-intake.js';
import type { IngestedNar, NarReader } from './nar-reader.js';
import { checkQuota } from './quota.js';
import { recordNar } from './record-nar.js';
import { StoredFacts } from './stored-facts.js';
import type { UploadRoom } from './upload-room.js';

type OnReceived = (cache: Cache, nar: IngestedNar) => void;

export interface NarStoreOptions {
  readonly database: Database;
  readonly storage: ObjectStorage;
  readonly reader: NarReader;
  readonly leases: Leases;
  readonly room: UploadRoom;
  /** How long a NAR is kept that no path has yet, in milliseconds. */
  readonly keepUnused: number;
  /** Hears of every upload that is stored now. */
  readonly onReceived?: OnReceived;
}

/**
 * The NARs of all caches. A NAR's key is its NarHash, so no upload can change what a narinfo names.
 *
 * Crash invariants: an upload is staged while it is verified, and published to its key only when all of it was sound; it
 * enters the database after that. So a row means bytes that are there, durable and verified. A lease on the NAR is held from
 * before the first to the end of the second: of uploads of one NAR at once, through whichever replicas, one does the work and
 * the others wait for it; and a crash between the two leaves a lapsed lease, by which the object without a row is found.
 */
export class NarStore {
  readonly #database: Database;
  readonly #leases: Leases;
  readonly #intake: NarIntake;
  readonly #facts: StoredFacts;
  readonly #keepUnused: number;
  readonly #onReceived: OnReceived | undefined;

  constructor(options: NarStoreOptions) {
    this.#database = options.database;
    this.#leases = options.leases;
    this.#intake = new NarIntake(options);
    this.#facts = new StoredFacts(options);
    this.#keepUnused = options.keepUnused;
    this.#onReceived = options.onReceived;
  }

  async find(cache: Cache, narHash: string): Promise<NarRow | undefined> {
    return queryNar(this.#database.read, cache.id, narHash);
  }

  /** The same, for a client that is about to publish a path with it: it stays for that. */
  async findForUpload(cache: Cache, narHash: string): Promise<NarRow | undefined> {
    const row = await this.find(cache, narHash);
    const expiresAt = Date.now() + this.#keepUnused;
    // Not each time it is asked: half of the time is enough for anyone.
    if (row !== undefined && row.expires_at !== null && row.expires_at < expiresAt - this.#keepUnused / 2)
      await prolongNar(this.#database.write, cache.id, { narHash, expiresAt });
    return row;
  }

  /** The NAR that a stock client uploaded under this name. */
  async findUploaded(cache: Cache, fileName: string): Promise<NarRow | undefined> {
    const narHash = await queryNarFile(this.#database.read, cache.id, fileName);
    return narHash === undefined ? undefined : this.findForUpload(cache, narHash);
  }

  /**
   * Takes an upload, reading it once: verified, compressed anew, stored and recorded, in that order. One that another client
   * is sending already is read to its end and dropped once that one is there.
   * @throws `overloaded`, `nar-malformed`, `codec-…`, `nar-hash-mismatch`, `nar-size-mismatch`, `nar-file-mismatch`,
   * `quota-exceeded`: then nothing is kept
   */
  async receive(cache: Cache, source: AsyncIterable<Uint8Array>, upload: NarUpload): Promise<NarRow> {
    const { narHash, fileName, signal } = upload;
    if (narHash !== undefined) {
      await using lease = await this.#leases.take(cache.id, [narObject(narHash)], patient(signal));
      const known = await this.findForUpload(cache, narHash);
      if (known !== undefined) {
        await lease.release();
        return await drain(source, known);
      }
      return await this.#ingest(cache, source, { upload, lease });
    }
    if (fileName === undefined || !isHashName(fileName)) return this.#ingest(cache, source, { upload });
    const first = await this.#leases.tryTake(cache.id, [fileObject(fileName)]);
    await using turn = first ?? (await this.#leases.take(cache.id, [fileObject(fileName)], patient(signal)));
    // Only one that had to wait is dropped: the name is no proof of what the others send.
    const known = first === undefined ? await this.findUploaded(cache, fileName) : undefined;
    const row =
      known === undefined ? await this.#ingest(cache, source, { upload }) : await drain(source, known);
    await turn.release();
    return row;
  }

  async #ingest(
    cache: Cache,
    source: AsyncIterable<Uint8Array>,
    { upload, lease }: { readonly upload: NarUpload; readonly lease?: Lease },
  ): Promise<NarRow> {
    await checkQuota(this.#database, cache, 0);
    await using verified = await this.#intake.read(cache, source, upload);
    if (lease !== undefined) return await this.#keep(cache, verified, { upload, lease });
    const object = narObject(bareHash(verified.nar.narHash));
    await using own = await this.#leases.take(cache.id, [object], patient(upload.signal));
    return await this.#keep(cache, verified, { upload, lease: own });
  }

  /** Stores and records what was verified, under a lease on it. */
  async #keep(
    cache: Cache,
    { nar, staged }: VerifiedUpload,
    { upload, lease }: { readonly upload: NarUpload; readonly lease: Lease },
  ): Promise<NarRow> {
    const hash = bareHash(nar.narHash);
    const known = await queryNar(this.#database.write, cache.id, hash);
    if (known === undefined) {
      await checkQuota(this.#database, cache, staged.size);
      await staged.publish(objectKeys.nar(cache.name, hash));
    }
    const expiresAt = Date.now() + this.#keepUnused;
    const row: NarRow = known ?? {
      cache_id: cache.id,
      nar_hash: hash,
      nar_size: nar.narSize,
      file_hash: bareHash(nar.fileHash),
      file_size: nar.fileSize,
      created_at: Date.now(),
      expires_at: expiresAt,
      file: null,
      compression: null,
    };
    const { fileName } = upload;
    await recordNar(this.#database, { row, reading: nar, lease, expiresAt, fileName });
    this.#onReceived?.(cache, nar);
    return row;
  }

  /** What can be asked of a stored NAR. */
  facts(cache: Cache, narHash: string): ContentFacts {
    return this.#facts.of(cache, narHash);
  }
}

/** An upload may take hours: others wait for as long as its holder lives, and their client with them. */
function patient(signal: AbortSignal | undefined): { patience: number; signal?: AbortSignal } {
  return { patience: Number.POSITIVE_INFINITY, ...(signal === undefined ? {} : { signal }) };
}

/** Reads to its end what is not needed: a client that is cut off would try again. */
async function drain(source: AsyncIterable<Uint8Array>, known: NarRow): Promise<NarRow> {
  for await (const chunk of source) void chunk;
  return known;
}

/** The object that stands for a NAR in leases. */
export function narObject(narHash: string): string {
  return `nar/${narHash}`;
}

function fileObject(fileName: string): string {
  return `file/${fileName}`;
}

/** Whether a file is named by the hash of its bytes, as Nix does. */
function isHashName(fileName: string): boolean {
  return /^[0-9abcdfghijklmnpqrsvwxyz]{52}\.nar(\.|$)/.test(fileName);
}
