import type {
  MigratingPath,
  MigratingSideFile,
  MigrationEntry,
  MigrationSource,
  RefusedPath,
} from '@larder/cache-server/migrate/migration-source';
import { draftOfNarInfo } from '@larder/cache-server/publish/draft';
import { parseCompression } from '@larder/signing/compression';
import { LarderError } from '@larder/signing/errors';
import { type NarInfo, parseNarInfo } from '@larder/signing/narinfo';
import { isHashPart, type StoreDir, storePathHashPart } from '@larder/signing/store-path';
import { checkTrust, type TrustedKeys } from '@larder/signing/trust';
import type { CacheFiles } from '@larder/substituter/binary-cache/cache-files';
import { mapConcurrently } from '@larder/substituter/concurrency';

export interface CacheFilesOptions {
  readonly storeDir: StoreDir;
  /** Paths need a good signature by one of them, where there are any. */
  readonly trusted?: TrustedKeys;
  /** Hash parts of the paths to begin with, for caches that cannot be listed: these and what they refer to. */
  readonly roots?: readonly string[];
}

/** Narinfos asked for at a time. */
const AT_ONCE = 32;

/** A cache of files, as `nix copy` makes them: in a directory, in a bucket or on the web. */
export class CacheFilesSource implements MigrationSource<string> {
  readonly #files: CacheFiles;
  readonly #options: CacheFilesOptions;

  /** @throws `usage` when there is no telling which paths there are */
  constructor(files: CacheFiles, options: CacheFilesOptions) {
    if (files.list === undefined && options.roots === undefined)
      throw new LarderError(
        'usage',
        `${files.uri} cannot be listed: name the paths to move with --paths-from FILE`,
      );
    this.#files = files;
    this.#options = options;
  }

  async *entries(): AsyncIterable<MigrationEntry<string>> {
    const { roots } = this.#options;
    if (roots !== undefined) return yield* this.#walk(roots);
    let batch: string[] = [];
    for await (const name of this.#files.list?.() ?? []) {
      const hashPart = /^([^/]+)\.narinfo$/.exec(name)?.[1];
      if (hashPart === undefined || !isHashPart(hashPart)) continue;
      if (batch.push(hashPart) < AT_ONCE) continue;
      yield* await this.#read(batch);
      batch = [];
    }
    yield* await this.#read(batch);
  }

  async load(hashParts: readonly string[]): Promise<(MigratingPath | RefusedPath)[]> {
    const loaded = await mapConcurrently(hashParts, AT_ONCE, (hashPart) => this.#load(hashPart));
    return loaded.filter((path) => path !== undefined);
  }

  /** Of a cache that is moved whole. */
  async *sideFiles(): AsyncIterable<MigratingSideFile> {
    if (this.#options.roots !== undefined) return;
    for (const folder of ['log', 'realisations', 'build-trace-v2'])
      for await (const name of this.#files.list?.(folder) ?? [])
        yield { name, read: () => this.#files.read(name) };
  }

  /** Breadth first: what is not there is left to upstreams. */
  async *#walk(roots: readonly string[]): AsyncIterable<MigrationEntry<string>> {
    const seen = new Set(roots);
    for (let next = [...seen]; next.length > 0; ) {
      const entries = await this.#read(next.splice(0, AT_ONCE));
      for (const entry of entries) {
        yield entry;
        const added = entry.references.filter((each) => !seen.has(each));
        for (const each of added) seen.add(each);
        next.push(...added);
      }
    }
  }

  async #read(hashParts: readonly string[]): Promise<MigrationEntry<string>[]> {
    const entries = await mapConcurrently(hashParts, AT_ONCE, async (hashPart) => {
      const info = await this.#narInfo(hashPart).catch(refusal);
      if (info === undefined) return undefined;
      return {
        key: hashPart,
        hashPart,
        references: 'why' in info ? [] : info.references.map(storePathHashPart),
      };
    });
    return entries.filter((entry) => entry !== undefined);
  }

  async #load(hashPart: string): Promise<MigratingPath | RefusedPath | undefined> {
    const info = await this.#narInfo(hashPart).catch(refusal);
    if (info === undefined) return undefined;
    if ('why' in info) return { path: hashPart, why: info.why };
    try {
      const { storeDir, trusted } = this.#options;
      if (trusted !== undefined)
        checkTrust(info, { storeDir, trusted, requireSignatures: true, source: this.#files.uri });
      const compression = parseCompression(info.compression);
      const nar = { compression, open: () => this.#files.open(info.url) };
      return { draft: draftOfNarInfo(info), findNar: async () => nar };
    } catch (error) {
      return { path: info.storePath, why: refusal(error).why };
    }
  }

  async #narInfo(hashPart: string): Promise<NarInfo | undefined> {
    const bytes = await this.#files.read(`${hashPart}.narinfo`);
    if (bytes === undefined) return undefined;
    const info = parseNarInfo(
      Buffer.from(bytes).toString('utf8'),
      this.#options.storeDir,
      `${hashPart}.narinfo`,
    );
    if (storePathHashPart(info.storePath) !== hashPart)
      throw new LarderError('narinfo-mismatch', `${hashPart}.narinfo is about ${info.storePath}`);
    return info;
  }
}

/** Why one path cannot be moved. @throws what keeps all from it */
function refusal(error: unknown): { readonly why: string } {
  if (error instanceof LarderError && error.code !== 'cache-unreachable' && error.code !== 'cache-refused')
    return { why: error.message };
  throw error;
}
