import { formatCacheInfo } from '@larder/signing/cache-info';
import { decompress } from '@larder/signing/codec';
import { compressionExtension, type WritableCompression } from '@larder/signing/compression';
import { deltaPath } from '@larder/signing/download';
import type { SecretKey } from '@larder/signing/key';
import { formatNarListing, readNarListing } from '@larder/signing/nar-listing';
import type { NarWork } from '@larder/signing/nar-work';
import { formatNarInfo, type NarInfo } from '@larder/signing/narinfo';
import type { PathInfo } from '@larder/signing/path-info';
import { formatRealisation, type Realisation, realisationKey } from '@larder/signing/realisation';
import { type StoreDir, type StorePath, storePathHashPart } from '@larder/signing/store-path';
import { signPathInfo } from '@larder/signing/trust';
import { BinaryCache } from '../binary-cache/binary-cache.js';
import { type CacheFiles, cacheUrl, fileContents } from '../binary-cache/cache-files.js';
import type { NarInfoCache } from '../binary-cache/narinfo-cache.js';
import { mapConcurrently } from '../concurrency.js';
import { bareHash } from '../copy/delta-plan.js';
import type { Destination, ReceiveOptions, Reception } from '../copy/destination.js';
import type { FoundPath } from '../source-set.js';
import { packPath } from './pack-path.js';
import { writePackedFile } from './packed-file.js';
import type { ArchivePair, SideFiles } from './side-files.js';

/** A NAR that is in the cache, for its narinfo. */
type UploadedNar = Required<Pick<NarInfo, 'url' | 'fileHash' | 'fileSize'>>;

export interface CachePublisherOptions {
  readonly work: NarWork;
  readonly storeDir: StoreDir;
  readonly compression: WritableCompression;
  readonly level?: number;
  /** Keys that sign what is published, next to the signatures it has. */
  readonly secretKeys: readonly SecretKey[];
  /** Write `<hash>.ls` beside each narinfo. */
  readonly writeListing: boolean;
  /** Narinfo queries under way at a time. */
  readonly queries: number;
  /** Where it is kept what the cache did not have. */
  readonly remembered?: NarInfoCache;
}

/**
 * Publishes to a binary cache in stock Nix's way, in its layout: the NAR under its compressed hash, the listing if
 * asked for, and the narinfo last, after those of all references.
 */
export class CachePublisher implements Destination, SideFiles {
  readonly checksTrust = false;
  readonly storeDir: StoreDir;
  readonly #files: CacheFiles;
  readonly #options: CachePublisherOptions;
  readonly #received = new Map<StorePath, UploadedNar>();
  #prepared: Promise<void> | undefined;

  constructor(files: CacheFiles, options: CachePublisherOptions) {
    this.#files = files;
    this.#options = options;
    this.storeDir = options.storeDir;
  }

  get uri(): string {
    return this.#files.uri;
  }

  async queryMissing(paths: readonly StorePath[], signal?: AbortSignal): Promise<ReadonlySet<StorePath>> {
    this.#prepared ??= this.#prepare(signal);
    await this.#prepared;
    const missing = new Set<StorePath>();
    await mapConcurrently(paths, this.#options.queries, async (path) => {
      if (!(await this.#files.exists(narInfoName(path), { signal }))) missing.add(path);
    });
    return missing;
  }

  /** Checks that the cache is for our store directory; one that is new gets its first file. */
  async #prepare(signal: AbortSignal | undefined): Promise<void> {
    const name = 'nix-cache-info';
    await new BinaryCache(this.#files, { storeDir: this.storeDir }).info({ signal });
    if ((await this.#files.read(name, { signal })) !== undefined) return;
    const text = formatCacheInfo({ storeDir: this.storeDir.path, wantMassQuery: true, priority: 50 });
    await this.#files.write(name, fileContents(text), { contentType: 'text/x-nix-cache-info', signal });
  }

  async receive(found: FoundPath, { onBytes, signal }: ReceiveOptions): Promise<Reception> {
    const { compression, level, work } = this.#options;
    const packed = packPath(found, { work, compression, level, signal });
    await using file = await writePackedFile(packed, { directory: this.#files.scratchDirectory, signal });
    const { fileHash } = file;
    const url = `nar/${fileHash.format('nix32', { prefix: false })}.nar${compressionExtension(compression)}`;
    if (!(await this.#files.exists(url, { signal }))) {
      await this.#files.write(url, file.contents, { contentType: 'application/x-nix-nar', signal });
    }
    if (this.#options.writeListing) await this.#writeListing(found, signal);
    onBytes(found.info.narSize);
    this.#received.set(found.info.storePath, { url, fileHash, fileSize: file.contents.size });
    return 'received';
  }

  async #writeListing({ info, source }: FoundPath, signal: AbortSignal): Promise<void> {
    const { compression, bytes } = source.openPacked(info, { signal });
    const listing = await readNarListing(decompress(bytes, compression, { signal }));
    const contents = fileContents(formatNarListing(listing));
    const name = `${storePathHashPart(info.storePath)}.ls`;
    await this.#files.write(name, contents, { contentType: 'application/json', signal });
  }

  async commit(infos: readonly PathInfo[]): Promise<void> {
    const written = new Map<StorePath, Promise<void>>();
    // References come first in `infos`, so each finds those of this batch under way.
    for (const info of infos) {
      const before: Promise<void>[] = [];
      for (const path of info.references) {
        const earlier = written.get(path);
        if (earlier !== undefined) before.push(earlier);
      }
      const writing = Promise.all(before).then(() => this.#writeNarInfo(info));
      written.set(info.storePath, writing);
      writing.catch(() => {}); // Thrown below, with the others.
    }
    await Promise.all(written.values());
    this.#options.remembered?.forgetAbsent(cacheUrl(this.uri));
  }

  async #writeNarInfo(info: PathInfo): Promise<void> {
    const { compression, secretKeys } = this.#options;
    const { storePath, narHash, narSize, references, deriver, signatures, ca } = info;
    const narInfo: NarInfo = {
      ...{ storePath, narHash, narSize, references, deriver, signatures, ca, compression },
      ...this.#received.get(storePath)!,
    };
    const signed = signPathInfo(narInfo, secretKeys, this.storeDir);
    const contents = fileContents(formatNarInfo(signed, this.storeDir));
    await this.#files.write(narInfoName(storePath), contents, { contentType: 'text/x-nix-narinfo' });
    this.#received.delete(storePath);
  }

  async putLog(derivation: StorePath, text: Uint8Array, signal?: AbortSignal): Promise<void> {
    const contentType = 'text/plain; charset=utf-8';
    await this.#files.write(`log/${derivation}`, fileContents(text), { contentType, signal });
  }

  async putRealisation(realisation: Realisation, signal?: AbortSignal): Promise<void> {
    const contents = fileContents(formatRealisation(realisation));
    const contentType = 'application/json';
    await this.#files.write(realisationKey(realisation.id), contents, { contentType, signal });
  }

  async putDelta({ base, next }: ArchivePair, delta: Uint8Array, signal?: AbortSignal): Promise<boolean> {
    const name = deltaPath(bareHash(base), bareHash(next));
    await this.#files.write(name, fileContents(delta), { contentType: 'application/zstd', signal });
    return true;
  }

  /** What was uploaded stays: the next try finds it, and a cache's owner collects what no narinfo names. */
  async discard(path: StorePath): Promise<void> {
    this.#received.delete(path);
  }

  async close(): Promise<void> {
    await this.#files.close();
  }
}

function narInfoName(path: StorePath): string {
  return `${storePathHashPart(path)}.narinfo`;
}
