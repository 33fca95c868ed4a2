import { compressionOfUrl } from '@larder/signing/compression';
import { deltaPath } from '@larder/signing/download';
import type { NarWork } from '@larder/signing/nar-work';
import type { StorePath } from '@larder/signing/store-path';
import { BinaryCache } from '../binary-cache/binary-cache.js';
import { findDeltaBases } from '../copy/delta-bases.js';
import { bareHash, type PlannedDelta, planDeltas } from '../copy/delta-plan.js';
import { PromisedDeltas } from '../copy/promised-deltas.js';
import type { FoundPath } from '../source-set.js';
import type { MachineStore } from '../store.js';
import type { NarShelf } from './nar-shelf.js';

/** A store on this machine, whose paths deltas are applied to. */
export interface BaseStore {
  readonly store: MachineStore;
  /** Where the files of a path are. */
  readonly realPath: (path: StorePath) => string;
}

export interface ProxyDeltasOptions {
  readonly base: BaseStore;
  readonly shelf: NarShelf;
  readonly work: NarWork;
  /** Hears why a path that might have come as a delta comes whole. */
  readonly onNote: (text: string) => void;
  readonly signal: AbortSignal;
}

/** Milliseconds that paths gather in before it is asked for their deltas: clients ask for many narinfos at a time. */
const GATHERING = 15;

/** Milliseconds within which a delta that is being made is asked for outright: clients wait for one path after the other. */
const SOON = 1000;

/** Milliseconds for which it is remembered what the store has. */
const STORE_MEMORY = 30_000;

/** Paths of which it is remembered whether there is a delta; the oldest go first. */
const MOST_PLANNED = 50_000;

/** What comes from here to the next process is packed lightly: zstd at this level. */
const LEVEL = 1;

/**
 * Archives made from deltas to what the machine's store has: for clients that know nothing of deltas. Which there are is
 * asked for when a client asks for a narinfo, many at a time, so that it is known by the time it wants the archive.
 */
export class ProxyDeltas {
  readonly #options: ProxyDeltasOptions;
  readonly #promised: PromisedDeltas;
  readonly #planned = new Map<StorePath, Promise<PlannedDelta | undefined>>();
  #waiting: FoundPath[] = [];
  #batch: Promise<ReadonlyMap<StorePath, PlannedDelta>> | undefined;
  #known: { readonly paths: Promise<StorePath[]>; readonly until: number } | undefined;

  constructor(options: ProxyDeltasOptions) {
    this.#options = options;
    this.#promised = new PromisedDeltas({ isIdle: () => true, signal: options.signal });
  }

  /** A client is about to want this path. */
  note(found: FoundPath): void {
    const { storePath } = found.info;
    if (this.#planned.has(storePath)) return;
    this.#waiting.push(found);
    this.#batch ??= new Promise<void>((resolve) => setTimeout(resolve, GATHERING)).then(() => this.#plan());
    this.#planned.set(
      storePath,
      this.#batch.then((deltas) => deltas.get(storePath)),
    );
    for (const oldest of this.#planned.keys()) {
      if (this.#planned.size <= MOST_PLANNED) break;
      this.#planned.delete(oldest);
    }
  }

  async #plan(): Promise<ReadonlyMap<StorePath, PlannedDelta>> {
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#batch = undefined;
    const { store } = this.#options.base;
    const known = {
      queryAllValidPaths: () => this.#queryKnown(),
      queryPathInfo: (path: StorePath) => store.queryPathInfo(path),
      queryClosure: (roots: Iterable<StorePath>) => store.queryClosure(roots),
    };
    const destination = {
      findDeltaBases: (infos: Parameters<typeof findDeltaBases>[0]) => findDeltaBases(infos, known),
    };
    const { signal, onNote } = this.#options;
    const plan = await planDeltas(waiting, { destination, signal }).catch((error: unknown) => {
      if (!signal.aborted)
        onNote(`${waiting.length} paths come whole: no deltas can be looked for (${messageOf(error)})`);
      return [];
    });
    return new Map(plan.flatMap(({ info, delta }) => (delta === undefined ? [] : [[info.storePath, delta]])));
  }

  #queryKnown(): Promise<StorePath[]> {
    if (this.#known === undefined || this.#known.until < Date.now()) {
      const paths = this.#options.base.store.queryAllValidPaths();
      this.#known = { paths, until: Date.now() + STORE_MEMORY };
      paths.catch(() => {
        this.#known = undefined;
      });
    }
    return this.#known.paths;
  }

  /**
   * Puts the archive of a name on the shelf, made from a delta; gives the bytes that came over the network. `undefined` if
   * there is no delta, or it was no good: the archive is to be fetched then.
   */
  async shelve(name: string, found: FoundPath): Promise<number | undefined> {
    const { info, source } = found;
    const planned = await this.#planned.get(info.storePath);
    // It is for once: what is gone from the shelf, or did not fit, comes as it is the next time.
    this.#planned.delete(info.storePath);
    const { delta } = isSoon(planned)
      ? { delta: planned }
      : await this.#promised.decide({ ...found, delta: planned });
    if (delta === undefined || !(source instanceof BinaryCache)) return undefined;
    const compression = compressionOfUrl(name);
    if (compression !== 'zstd') return undefined;
    const { shelf, work, base, signal } = this.#options;
    const file = deltaPath(bareHash(delta.base.narHash), bareHash(info.narHash));
    const incoming = await shelf.receive(name);
    try {
      const { narHash, narSize } = info;
      const archive = work.verifyNar(source.openFile(file, delta.size, { signal }), {
        ...{ compression: 'none', output: 'seekable', level: LEVEL, narHash, narSize, signal },
        base: base.realPath(delta.base.storePath),
      });
      for await (const chunk of archive.output) await incoming.write(chunk);
      const { fileSize } = await archive.result;
      await incoming.keep();
      return fileSize;
    } catch (error) {
      signal.throwIfAborted();
      this.#options.onNote(`${info.storePath} comes whole: its delta is no good (${messageOf(error)})`);
      await incoming.discard();
      return undefined;
    } finally {
      await incoming.close();
    }
  }
}

/** Whether it is there, or will be by the time that asking how it gets on would take: asking for it waits for it. */
function isSoon(planned: PlannedDelta | undefined): boolean {
  return (planned?.due ?? 0) < performance.now() + SOON;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
