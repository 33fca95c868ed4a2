import { type CacheInfo, parseCacheInfo } from '@larder/signing/cache-info';
import { parseCompression } from '@larder/signing/compression';
import { LarderError } from '@larder/signing/errors';
import { type NarInfo, parseNarInfo } from '@larder/signing/narinfo';
import type { PathInfo } from '@larder/signing/path-info';
import { type StoreDir, type StorePath, storePathHashPart } from '@larder/signing/store-path';
import type { PackedSource, PathSource, ReadOptions } from '../store.js';
import { type CacheFiles, cacheUrl } from './cache-files.js';
import type { LarderApi } from './larder-api.js';
import type { NarInfoCache } from './narinfo-cache.js';

export interface BinaryCacheOptions {
  readonly storeDir: StoreDir;
  /** In place of what the cache says of itself. */
  readonly priority?: number;
  readonly wantMassQuery?: boolean;
  /** Accept its paths without signatures (`trusted=true` in its URI). */
  readonly trusted?: boolean;
  /** Where what the cache says is kept between runs. */
  readonly remembered?: NarInfoCache;
}

/** Archives up to this size in bytes, as the cache keeps them, are fetched whole. */
export const smallNarSize = 256 * 1024;

/** What a cache that says nothing is taken for, as by Nix. */
const silentCache = { wantMassQuery: false, priority: 50 };

/** A binary cache to read from, wherever its files are. */
export class BinaryCache implements PathSource {
  readonly files: CacheFiles;
  readonly storeDir: StoreDir;
  readonly trusted: boolean;
  readonly #options: BinaryCacheOptions;
  #info: Promise<CacheInfo> | undefined;
  /** Hash parts whose narinfo is a remembered one. */
  readonly #fromBefore = new Set<string>();

  constructor(files: CacheFiles, options: BinaryCacheOptions) {
    this.files = files;
    this.storeDir = options.storeDir;
    this.trusted = options.trusted ?? false;
    this.#options = options;
  }

  get uri(): string {
    return this.files.uri;
  }

  /**
   * What the cache says of itself, asked for once.
   * @throws `cache-store-dir-mismatch`: its paths would not work here
   */
  info(options?: ReadOptions): Promise<CacheInfo> {
    this.#info ??= this.#fetchInfo(options).catch((error: unknown) => {
      this.#info = undefined; // A failure is not an answer: the next caller asks again.
      throw error;
    });
    return this.#info;
  }

  async #fetchInfo(options?: ReadOptions): Promise<CacheInfo> {
    const { remembered } = this.#options;
    const stated = remembered?.queryCacheInfo(this.#plainUri) ?? (await this.#askInfo(options));
    if (stated.storeDir !== this.storeDir.path) {
      throw new LarderError(
        'cache-store-dir-mismatch',
        `the cache ${this.uri} is for stores in ${stated.storeDir}, this store is in ${this.storeDir.path}: ` +
          'its paths refer to each other by full name and would not work here',
        { fields: { cache: this.uri, theirs: stated.storeDir, ours: this.storeDir.path } },
      );
    }
    return {
      storeDir: stated.storeDir,
      priority: this.#options.priority ?? stated.priority,
      wantMassQuery: this.#options.wantMassQuery ?? stated.wantMassQuery,
    };
  }

  async #askInfo(options?: ReadOptions): Promise<CacheInfo> {
    const file = await this.files.read('nix-cache-info', options);
    const stated =
      file === undefined
        ? { storeDir: this.storeDir.path, ...silentCache }
        : parseCacheInfo(Buffer.from(file).toString('utf8'), `nix-cache-info of ${this.uri}`);
    // Whoever does not ask does not learn that a server speaks Larder's API, so such a one is asked each time.
    if (this.larder === undefined) this.#options.remembered?.noteCacheInfo(this.#plainUri, stated);
    return stated;
  }

  /** A Larder server answers for a whole closure at once, so that nothing is gained by believing what it said before. */
  get #remembered(): NarInfoCache | undefined {
    return this.larder === undefined ? this.#options.remembered : undefined;
  }

  get #plainUri(): string {
    return cacheUrl(this.uri);
  }

  /**
   * The narinfo of a path; `undefined` when the cache has none or has one for another name with the same hash.
   * @throws `narinfo-malformed`, HttpError
   */
  async queryPathInfo(path: StorePath, options?: ReadOptions): Promise<NarInfo | undefined> {
    const narInfo = await this.#fetchNarInfo(storePathHashPart(path), options);
    return narInfo?.storePath === path ? narInfo : undefined;
  }

  async queryPathFromHashPart(hashPart: string, options?: ReadOptions): Promise<StorePath | undefined> {
    return (await this.#fetchNarInfo(hashPart, options))?.storePath;
  }

  async #fetchNarInfo(hashPart: string, options?: ReadOptions): Promise<NarInfo | undefined> {
    await this.info(options);
    const known = this.#remembered?.query(this.#plainUri, hashPart);
    if (known === 'absent') return undefined;
    if (known !== undefined) {
      this.#fromBefore.add(hashPart);
      return known;
    }
    const narInfo = await this.#askNarInfo(hashPart, options);
    this.#remembered?.note(this.#plainUri, hashPart, narInfo);
    return narInfo;
  }

  /** A path's archive is not what its narinfo says: true if that was a remembered one, and is asked for anew from now on. */
  forget(path: StorePath): boolean {
    const hashPart = storePathHashPart(path);
    if (!this.#fromBefore.delete(hashPart)) return false;
    this.#remembered?.forget(this.#plainUri, hashPart);
    return true;
  }

  async #askNarInfo(hashPart: string, options?: ReadOptions): Promise<NarInfo | undefined> {
    const name = `${hashPart}.narinfo`;
    const text = await this.#readNarInfo(hashPart, name, options);
    if (text === undefined) return undefined;
    const narInfo = parseNarInfo(text, this.storeDir, `${name} of ${this.uri}`);
    if (storePathHashPart(narInfo.storePath) === hashPart) return narInfo;
    throw new LarderError(
      'narinfo-malformed',
      `${name} of ${this.uri} is about another path, ${narInfo.storePath}`,
    );
  }

  /** A Larder server tells a closure in one answer; from any other each narinfo is asked for by itself. */
  async #readNarInfo(hashPart: string, name: string, options?: ReadOptions): Promise<string | undefined> {
    const api = this.larder;
    if (api !== undefined && options?.walk !== undefined)
      return options.walk.answersOf(api).find(hashPart, options.signal);
    const file = await this.files.read(name, options);
    return file === undefined ? undefined : Buffer.from(file).toString('utf8');
  }

  /** What the cache can do beyond files if a Larder server has it, once `info` was read. */
  get larder(): LarderApi | undefined {
    return this.files.larder;
  }

  /** @throws `compression-unknown`; the bytes throw `cache-file-missing` */
  openPacked(info: PathInfo, options?: ReadOptions): PackedSource {
    const { compression, url, fileSize } = info as NarInfo;
    return { compression: parseCompression(compression), bytes: this.openFile(url, fileSize, options) };
  }

  /** A file of the cache's, which may have so many bytes. @throws `cache-file-missing`, once it is read */
  openFile(name: string, size: number | undefined, options?: ReadOptions): AsyncIterable<Uint8Array> {
    const isSmall = size !== undefined && size <= smallNarSize;
    return isSmall ? this.#readSmall(name, options) : this.files.open(name, options);
  }

  /** Small archives come whole, on a connection they may share with others: it is round trips that they cost. */
  async *#readSmall(url: string, options?: ReadOptions): AsyncGenerator<Uint8Array, void, undefined> {
    const file = await this.files.read(url, options);
    if (file !== undefined) {
      yield file;
      return;
    }
    throw new LarderError('cache-file-missing', `${this.uri} has no file ${url}`, {
      fields: { cache: this.uri, file: url },
    });
  }

  async close(): Promise<void> {
    await this.files.close();
  }
}
