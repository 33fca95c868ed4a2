import { compress, decompress } from '@larder/signing/codec';
import {
  type Compression,
  compressionExtension,
  compressionOfUrl,
  parseCompression,
  type WritableCompression,
} from '@larder/signing/compression';
import type { NarWork } from '@larder/signing/nar-work';
import type { NarInfo } from '@larder/signing/narinfo';
import { storePathHashPart } from '@larder/signing/store-path';
import type { FoundPath } from '../source-set.js';
import { NarFlight } from './nar-flight.js';
import type { NarShelf, ShelvedNar } from './nar-shelf.js';
import type { PathIndex } from './path-index.js';
import type { ProxyDeltas } from './proxy-deltas.js';

/** How an archive is answered: from the shelf, with ranges, or as it comes. */
export type NarAnswer =
  | { readonly kept: ShelvedNar }
  | { readonly coming: AsyncIterable<Uint8Array>; readonly size: number | undefined };

export interface NarServiceOptions {
  readonly index: PathIndex;
  readonly shelf: NarShelf;
  readonly work: NarWork;
  /** Where there is a store with older versions to apply them to. */
  readonly deltas?: ProxyDeltas;
  readonly signal: AbortSignal;
}

/** What was served since the start: bytes as caches keep them. */
export interface NarCounts {
  fromShelf: number;
  fromCaches: number;
  /** Archives that came as deltas. */
  deltas: number;
  failed: number;
}

/** Serves archives: from the shelf, or fetched once for all who wait, verified on the way and kept. */
export class NarService {
  readonly counts: NarCounts = { fromShelf: 0, fromCaches: 0, deltas: 0, failed: 0 };
  readonly #options: NarServiceOptions;
  readonly #flights = new Map<string, Promise<NarFlight>>();
  /** Archives being made from deltas. */
  readonly #making = new Map<string, Promise<boolean>>();

  constructor(options: NarServiceOptions) {
    this.#options = options;
  }

  /** The file name under which a path's archive is offered; it leads back to the path after a restart. */
  static nameOf({ info, source }: FoundPath): string {
    const { compression } = describe({ info, source });
    const hash = info.narHash.format('nix32').replace(/^sha256:/, '');
    return `${storePathHashPart(info.storePath)}-${hash}.nar${compressionExtension(compression)}`;
  }

  /**
   * The archive of a name that {@link nameOf} gave; `undefined` when no cache has it any more.
   * @throws what fetching it throws, if no other cache has it
   */
  async open(name: string): Promise<NarAnswer | undefined> {
    for (;;) {
      const kept = this.#options.shelf.find(name);
      if (kept !== undefined) {
        this.counts.fromShelf += kept.size;
        return { kept };
      }
      const found = await this.#options.index.find(name.slice(0, 32));
      if (found === undefined || !isFor(name, found)) return undefined;
      if (await this.#makeFromDelta(name, found)) continue;
      try {
        const flight = await this.#fly(name, found);
        await flight.begun();
        return { coming: flight.read(), size: sizeOf(name, found) };
      } catch (error) {
        this.#options.signal.throwIfAborted();
        this.counts.failed++;
        // Nothing was sent yet, so another cache can stand in. It ends when none is left.
        this.#options.index.noteBad(found);
        if ((await this.#options.index.find(name.slice(0, 32))) === undefined) throw error;
      }
    }
  }

  /** Whether the archive is on the shelf now. */
  #makeFromDelta(name: string, found: FoundPath): Promise<boolean> | boolean {
    const { deltas } = this.#options;
    if (deltas === undefined || this.#flights.has(name)) return false;
    let making = this.#making.get(name);
    if (making === undefined) {
      making = deltas
        .shelve(name, found)
        .then((fetched) => {
          if (fetched === undefined) return false;
          this.counts.deltas++;
          this.counts.fromCaches += fetched;
          return true;
        })
        .finally(() => this.#making.delete(name));
      this.#making.set(name, making);
    }
    return making;
  }

  #fly(name: string, found: FoundPath): Promise<NarFlight> {
    const running = this.#flights.get(name);
    if (running !== undefined) return running;
    const flight = this.#options.shelf.receive(name).then((incoming) => {
      const started = new NarFlight(incoming, this.#fetch(name, found));
      void started.finished.then(() => this.#flights.delete(name));
      return started;
    });
    flight.catch(() => this.#flights.delete(name));
    this.#flights.set(name, flight);
    return flight;
  }

  /** The archive's bytes in the form that its name promises; fails at the end if the contents are not right. */
  async *#fetch(name: string, found: FoundPath): AsyncGenerator<Uint8Array, void, undefined> {
    const { work, signal } = this.#options;
    const { info, source } = found;
    const { compression, bytes } = source.openPacked(info, { signal });
    const { narHash, narSize } = info;
    const verified = work.verifyNar(bytes, { compression, narHash, narSize, output: 'same', signal });
    verified.result.catch(() => undefined);
    const promised = compressionOfUrl(name);
    const output =
      promised === compression
        ? verified.output
        : compress(decompress(verified.output, compression), promised as WritableCompression);
    try {
      for await (const chunk of output) {
        this.counts.fromCaches += chunk.length;
        yield chunk;
      }
      await verified.result;
    } catch (error) {
      this.#options.index.noteBad(found);
      throw error;
    }
  }
}

/** How a source keeps a path's archive. A store has no narinfos: its archives come as they are. */
export function describe({ info }: FoundPath): {
  readonly compression: Compression;
  readonly fileSize?: number;
} {
  if (!('compression' in info)) return { compression: 'none', fileSize: info.narSize };
  const { compression, fileSize } = info as NarInfo;
  return { compression: parseCompression(compression), fileSize };
}

/** Whether a name is of this path's contents; the compression may be that of another cache. */
function isFor(name: string, found: FoundPath): boolean {
  return withoutCompression(name) === withoutCompression(NarService.nameOf(found));
}

function withoutCompression(name: string): string {
  return name.slice(0, name.indexOf('.nar'));
}

/** Bytes of the answer, where the cache that has it said so. */
function sizeOf(name: string, found: FoundPath): number | undefined {
  const { compression, fileSize } = describe(found);
  return compressionOfUrl(name) === compression ? fileSize : undefined;
}
