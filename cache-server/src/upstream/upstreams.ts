import { isCompression } from '@larder/signing/compression';
import { formatNarInfo, parseNarInfo } from '@larder/signing/narinfo';
import { type StorePath, storePathHashPart } from '@larder/signing/store-path';
import { signPathInfo } from '@larder/signing/trust';
import type { Logger } from 'pino';
import type { Cache } from '../caches/cache.js';
import type { Database } from '../database/database.js';
import { queryNar } from '../database/tables/nars.js';
import {
  deleteUpstreamPath,
  queryUpstreamPath,
  queryUpstreamPathsByNar,
  type UpstreamPathRow,
  upsertUpstreamPath,
} from '../database/tables/upstream-paths.js';
import { ServerError } from '../errors.js';
import type { NarStore } from '../nars/nar-store.js';
import { draftOfNarInfo } from '../publish/draft.js';
import { bareHash } from '../publish/narinfo-text.js';
import type { Publisher } from '../publish/publisher.js';
import { narUrlPath } from '../storage/object-key.js';
import { Absences } from './absences.js';
import type { FoundUpstream, UpstreamClient } from './upstream-client.js';

export interface UpstreamsOptions {
  readonly database: Database;
  readonly nars: NarStore;
  readonly publisher: Publisher;
  readonly client: UpstreamClient;
  readonly logger: Logger;
  /** How long an upstream's answer that it does not have a path is believed, in milliseconds. */
  readonly negative: number;
}

/** How long an upstream that does not answer is left alone for a path, in milliseconds. */
const DOWN = 10_000;

/** Takes the bytes of a NAR as it comes, as they are stored; the next come when it has resolved. */
export type NarSink = (chunk: Uint8Array) => Promise<void>;

/**
 * Caches behind caches: what is not here is asked of them, told to the client, and stored when its NAR is fetched.
 *
 * A path's narinfo names the NAR as it will be here, so the signatures it came with stay good. A NAR goes through the same
 * checks as an upload, is streamed to whoever asked first while it is stored, and everybody else waits for that. Only then is
 * the path published. An upstream that is down is as one that has nothing, but not for long.
 */
export class Upstreams {
  readonly #options: UpstreamsOptions;
  readonly #absences = new Absences();
  readonly #lookups = new Map<string, Promise<UpstreamPathRow | undefined>>();
  readonly #pulls = new Map<string, Promise<boolean>>();

  constructor(options: UpstreamsOptions) {
    this.#options = options;
  }

  /** The narinfo to serve of a path that an upstream has. */
  async findNarInfo(cache: Cache, hashPart: string): Promise<string | undefined> {
    const row = await this.#find(cache, hashPart);
    return row === undefined ? undefined : servedNarInfo(cache, row);
  }

  /** Whether an upstream has this very path. */
  async has(cache: Cache, path: StorePath): Promise<boolean> {
    const row = await this.#find(cache, storePathHashPart(path));
    return row !== undefined && parseNarInfo(row.narinfo, cache.storeDir, row.nar_url).storePath === path;
  }

  /**
   * Fetches and stores a NAR that a narinfo of an upstream named.
   * @param sink gets its bytes on the way, if nobody else is fetching it already
   * @returns `streamed` through the sink; `stored`, to be read from the storage; or `undefined` when no upstream has it
   * @throws `upstream-failed`, and what an upload throws
   */
  async pullNar(cache: Cache, narHash: string, sink?: NarSink): Promise<'streamed' | 'stored' | undefined> {
    const key = `${cache.id}/${narHash}`;
    const running = this.#pulls.get(key);
    if (running !== undefined) return (await running) ? 'stored' : undefined;
    let isStreamed = false;
    const pull = this.#pull(cache, narHash, async (chunk) => {
      isStreamed = true;
      await sink?.(chunk);
    }).finally(() => this.#pulls.delete(key));
    this.#pulls.set(key, pull);
    if (!(await pull)) return undefined;
    return isStreamed && sink !== undefined ? 'streamed' : 'stored';
  }

  async #find(cache: Cache, hashPart: string): Promise<UpstreamPathRow | undefined> {
    const { upstreams = [] } = cache.options;
    const key = `${cache.id}/${hashPart}`;
    if (upstreams.length === 0 || this.#absences.has(key)) return undefined;
    const running = this.#lookups.get(key);
    if (running !== undefined) return running;
    const lookup = this.#lookUp(cache, hashPart, key).finally(() => this.#lookups.delete(key));
    this.#lookups.set(key, lookup);
    return lookup;
  }

  async #lookUp(cache: Cache, hashPart: string, key: string): Promise<UpstreamPathRow | undefined> {
    const { database, negative, logger } = this.#options;
    const known = await queryUpstreamPath(database.read, cache.id, hashPart);
    if (known !== undefined) return known;
    let isDown = false;
    for (const upstream of cache.options.upstreams ?? []) {
      try {
        const found = await this.#options.client.findPath(upstream, hashPart, cache.storeDir);
        if (found !== undefined) return await this.#keep(cache, hashPart, found);
      } catch (error) {
        isDown = true;
        logger.warn({ cache: cache.name, upstream: upstream.url, path: hashPart, err: error }, 'upstream');
      }
    }
    this.#absences.add(key, isDown ? Math.min(DOWN, negative) : negative);
    return undefined;
  }

  async #keep(
    cache: Cache,
    hashPart: string,
    { info, text, narUrl }: FoundUpstream,
  ): Promise<UpstreamPathRow> {
    const { database } = this.#options;
    const row = {
      cache_id: cache.id,
      hash_part: hashPart,
      nar_hash: bareHash(info.narHash),
      narinfo: text,
      nar_url: narUrl,
      fetched_at: Date.now(),
    };
    await upsertUpstreamPath(database.write, row);
    // The NAR may be here already, of another path or from before.
    if ((await queryNar(database.read, cache.id, row.nar_hash)) !== undefined)
      await this.#publish(cache, row);
    return row;
  }

  async #pull(cache: Cache, narHash: string, sink: NarSink): Promise<boolean> {
    const { database, nars, client } = this.#options;
    const rows = await queryUpstreamPathsByNar(database.write, cache.id, narHash);
    for (const row of rows) {
      await using body = await client.openNar(row.nar_url);
      if (body === undefined) {
        await deleteUpstreamPath(database.write, cache.id, row.hash_part);
        continue;
      }
      const { compression, narSize } = parseNarInfo(row.narinfo, cache.storeDir, row.nar_url);
      if (!isCompression(compression))
        throw new ServerError(
          'upstream-failed',
          `${row.nar_url} is compressed by an unknown '${compression}'`,
        );
      await nars.receive(cache, body, { compression, narHash, narSize, onStored: sink });
      for (const each of rows) await this.#publish(cache, each);
      return true;
    }
    return false;
  }

  /** Makes a path the cache's own. That it cannot be is no reason not to serve it. */
  async #publish(cache: Cache, row: UpstreamPathRow): Promise<void> {
    const { publisher, database, logger } = this.#options;
    try {
      const info = parseNarInfo(row.narinfo, cache.storeDir, row.nar_url);
      const signingKeys = cache.options.signUpstream === true ? cache.signingKeys : [];
      await publisher.publish({ ...cache, signingKeys }, [draftOfNarInfo(info)]);
      await deleteUpstreamPath(database.write, cache.id, row.hash_part);
    } catch (error) {
      logger.warn({ cache: cache.name, path: row.hash_part, err: error }, 'cannot take over a path');
    }
  }
}

/** As the upstream has it, but for where the NAR is: here, in our own compression, whose size nobody knows yet. */
function servedNarInfo(cache: Cache, row: UpstreamPathRow): string {
  const draft = draftOfNarInfo(parseNarInfo(row.narinfo, cache.storeDir, row.nar_url));
  const info = { ...draft, url: narUrlPath(row.nar_hash), compression: 'zstd' };
  const keys = cache.options.signUpstream === true ? cache.signingKeys : [];
  return formatNarInfo(signPathInfo(info, keys, cache.storeDir), cache.storeDir);
}
