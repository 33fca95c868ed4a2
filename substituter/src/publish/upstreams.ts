import type { PathInfo } from '@larder/signing/path-info';
import { parseSignature } from '@larder/signing/signature';
import type { StoreDir, StorePath } from '@larder/signing/store-path';
import { mapConcurrently } from '../concurrency.js';
import type { Destination, ReceiveOptions, Reception } from '../copy/destination.js';
import type { FoundPath } from '../source-set.js';
import type { PathSource } from '../store.js';

/** Caches that those who read ours have as well: what they hold need not be in ours. */
export interface Upstreams {
  /** A path that one of these keys signed is in its cache: nobody is asked. */
  readonly keyNames: ReadonlySet<string>;
  /** Asked path by path. */
  readonly caches: readonly PathSource[];
  /** Questions under way at a time. */
  readonly queries: number;
}

/**
 * A destination that wants nothing an upstream has. An upstream has a path only with all it refers to, so such a path is
 * not looked behind either.
 */
export class UpstreamFilter implements Destination {
  readonly #destination: Destination;
  readonly #source: PathSource;
  readonly #upstreams: Upstreams;

  /** `source` knows the paths' signatures. */
  constructor(destination: Destination, source: PathSource, upstreams: Upstreams) {
    this.#destination = destination;
    this.#source = source;
    this.#upstreams = upstreams;
  }

  get uri(): string {
    return this.#destination.uri;
  }

  get storeDir(): StoreDir {
    return this.#destination.storeDir;
  }

  get checksTrust(): boolean {
    return this.#destination.checksTrust;
  }

  async queryMissing(paths: readonly StorePath[], signal?: AbortSignal): Promise<ReadonlySet<StorePath>> {
    const missing = await this.#destination.queryMissing(paths, signal);
    const wanted = new Set<StorePath>();
    const question = { source: this.#source, upstreams: this.#upstreams, signal };
    await mapConcurrently([...missing], this.#upstreams.queries, async (path) => {
      if (!(await isUpstream(path, question))) wanted.add(path);
    });
    return wanted;
  }

  receive(found: FoundPath, options: ReceiveOptions): Promise<Reception> {
    return this.#destination.receive(found, options);
  }

  commit(infos: readonly PathInfo[], signal?: AbortSignal): Promise<void> {
    return this.#destination.commit(infos, signal);
  }

  discard(path: StorePath): Promise<void> {
    return this.#destination.discard(path);
  }

  close(): Promise<void> {
    return this.#destination.close();
  }
}

interface Question {
  readonly source: PathSource;
  readonly upstreams: Upstreams;
  readonly signal: AbortSignal | undefined;
}

async function isUpstream(path: StorePath, { source, upstreams, signal }: Question): Promise<boolean> {
  if (upstreams.keyNames.size > 0) {
    const signatures = (await source.queryPathInfo(path, { signal }))?.signatures ?? [];
    if (signatures.some((text) => upstreams.keyNames.has(parseSignature(text).keyName))) return true;
  }
  for (const cache of upstreams.caches) {
    if ((await cache.queryPathInfo(path, { signal })) !== undefined) return true;
  }
  return false;
}
