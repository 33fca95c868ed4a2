import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { hasCode } from '@larder/signing/errors';
import type { NarInfo } from '@larder/signing/narinfo';
import type { PathInfo } from '@larder/signing/path-info';
import type { StorePath } from '@larder/signing/store-path';
import { BinaryCache } from '../binary-cache/binary-cache.js';
import { Semaphore } from '../concurrency.js';
import type { FoundPath } from '../source-set.js';
import type { PathSource } from '../store.js';
import { CommitQueue } from './commit-queue.js';
import type { CopyListener } from './copy-events.js';
import type { Destination, Reception } from './destination.js';
import { isSourceFault } from './nar-mismatch.js';
import { PromisedDeltas } from './promised-deltas.js';
import { comesWithOthers } from './receive-archives.js';
import { TransferOrder } from './transfer-order.js';

export interface TransferOptions {
  readonly destination: Destination;
  /** Large paths under way at a time. */
  readonly concurrency: number;
  /** Another trusted source of a path, not among those whose copy was bad. */
  readonly findElsewhere: (
    path: StorePath,
    except: ReadonlySet<PathSource>,
  ) => Promise<FoundPath | undefined>;
  readonly onEvent?: CopyListener;
  readonly signal?: AbortSignal;
}

/** Small paths under way at a time: they wait for the network more than they use it. */
const smallTransfers = 48;

/** Answers of many small paths under way at a time: enough to keep a long line full. */
const batchTransfers = 4;

/** How often paths that another process is adding are looked at again, in milliseconds. */
const busyPoll = 50;

/**
 * Transfers a plan. Contents come in in any order, several at a time; each path is committed as soon as all it
 * refers to is. After a failure nothing new is begun, what is complete is still committed, and the first
 * failure is thrown.
 *
 * Locks: a path that another process is adding takes no slot while it is waited for. Two processes that copy
 * the same closure therefore share the work; they cannot wait for each other in a circle, since the lowest path
 * that is not committed yet needs nothing but whoever holds it.
 */
export class Transfer {
  readonly #options: TransferOptions;
  readonly #order: TransferOrder;
  readonly #commits: CommitQueue;
  readonly #abort = new AbortController();
  readonly #signal: AbortSignal;
  /** Paths whose waiting was told. */
  readonly #fetched = new Map<StorePath, { readonly bytes: number; readonly isDelta: boolean }>();
  readonly #batches = new Semaphore(batchTransfers);
  readonly #announced = new Set<StorePath>();
  readonly #promised: readonly FoundPath[];
  /** Paths of which it is not known yet whether they come by a delta that is being made; and who waits for that. */
  #undecided = 0;
  #wakeLanes: (() => void)[] = [];
  #busy: FoundPath[] = [];
  #failure: { readonly error: unknown } | undefined;

  constructor(plan: readonly FoundPath[], options: TransferOptions) {
    this.#options = options;
    this.#promised = plan.filter(({ delta }) => delta?.due !== undefined);
    this.#order = new TransferOrder(plan.filter(({ delta }) => delta?.due === undefined));
    this.#signal =
      options.signal === undefined
        ? this.#abort.signal
        : AbortSignal.any([options.signal, this.#abort.signal]);
    // Every path under way listens; that is no leak.
    setMaxListeners(0, this.#signal);
    this.#commits = new CommitQueue(
      plan.map(({ info }) => info),
      (infos) => this.#commit(infos),
    );
  }

  async run(): Promise<void> {
    this.#awaitDeltas();
    const large = Array.from({ length: this.#options.concurrency }, (_, lane) =>
      // Half go up from the leaves, so that commits flow; half take the largest, so that none is left last.
      this.#runLane(() => (lane % 2 === 0 ? this.#order.takeLarge() : this.#order.takeLargest())),
    );
    const small = Array.from({ length: smallTransfers }, () => this.#runSmallLane());
    const lanes = [...large, ...small];
    await Promise.all(lanes);
    await this.#commits.drain().catch((error: unknown) => this.#fail(error));
    await Promise.all(this.#commits.uncommitted().map((path) => this.#options.destination.discard(path)));
    if (this.#failure !== undefined) throw this.#failure.error;
    this.#options.signal?.throwIfAborted();
  }

  async #runLane(take: () => FoundPath | undefined): Promise<void> {
    for (;;) {
      if (this.#signal.aborted) return;
      const next = take() ?? (await this.#takeBusy());
      if (next === undefined) {
        if (!(await this.#waitForMore())) return;
        continue;
      }
      try {
        await this.#transfer(next);
      } catch (error) {
        this.#fail(error);
      }
    }
  }

  async #runSmallLane(): Promise<void> {
    const mayJoin = this.#options.destination.receiveMany === undefined ? () => false : comesWithOthers;
    for (;;) {
      if (this.#signal.aborted) return;
      const batch = this.#order.takeSmallBatch(mayJoin);
      if (batch.length < 2) {
        const next = batch[0] ?? (await this.#takeBusy());
        if (next === undefined) {
          if (!(await this.#waitForMore())) return;
          continue;
        }
        await this.#transfer(next).catch((error: unknown) => this.#fail(error));
        continue;
      }
      await this.#batches.run(() => this.#receiveMany(batch)).catch((error: unknown) => this.#fail(error));
    }
  }

  /** Meanwhile the link is used for other paths. */
  #awaitDeltas(): void {
    const deltas = new PromisedDeltas({ isIdle: () => this.#order.isEmpty, signal: this.#signal });
    this.#undecided = this.#promised.length;
    for (const found of this.#promised) {
      void deltas.decide(found).then((decided) => {
        this.#order.add(decided);
        this.#undecided--;
        for (const wake of this.#wakeLanes.splice(0)) wake();
      });
    }
  }

  /** Waits until there may be more to take; false when there never will be. */
  async #waitForMore(): Promise<boolean> {
    if (this.#undecided === 0) return false;
    await new Promise<void>((resolve) => this.#wakeLanes.push(resolve));
    return true;
  }

  /** Several paths in one go; one that does not come is fetched by itself. */
  async #receiveMany(batch: readonly FoundPath[]): Promise<void> {
    const { onEvent, destination } = this.#options;
    for (const { info, source } of batch)
      onEvent?.({ type: 'started', path: info.storePath, bytes: info.narSize, source: source.uri });
    const receptions = await destination.receiveMany!(batch, {
      onBytes: () => {},
      onFetched: (found, bytes, isDelta) => this.#fetched.set(found.info.storePath, { bytes, isDelta }),
      signal: this.#signal,
    });
    for (const [index, reception] of receptions.entries()) {
      const found = batch[index]!;
      if (!(reception instanceof Error)) this.#note(found, reception);
      else if (!this.#signal.aborted && !mayComeAlone(reception)) this.#fail(reception);
    }
    // Alone, as an archive, and if need be from elsewhere. All of them are waited for, also after a failure: what comes in
    // when the copy is over would neither be committed nor cleared away.
    const again = batch.filter((_, index) => mayComeAlone(receptions[index]));
    await Promise.all(
      again.map(({ info, source }) =>
        this.#transfer({ info, source }).catch((error: unknown) => this.#fail(error)),
      ),
    );
  }

  /** A path that was busy before, once nothing else is left to begin. */
  async #takeBusy(): Promise<FoundPath | undefined> {
    const next = this.#busy.shift();
    if (next !== undefined) await sleep(busyPoll, undefined, { signal: this.#signal }).catch(() => {});
    return next;
  }

  async #transfer(planned: FoundPath): Promise<void> {
    const bad = new Set<PathSource>();
    for (let found = planned; ; ) {
      try {
        const elsewhere = () => this.#findElsewhere(planned, new Set([...bad, found.source]));
        await this.#receive({ ...found, elsewhere });
        return;
      } catch (error) {
        if (this.#signal.aborted || !isSourceFault(error)) throw error;
        // A narinfo that was kept may be of an archive that is gone: then the same source is asked again first.
        const mayBeOld = found.source instanceof BinaryCache && found.source.forget(found.info.storePath);
        if (!mayBeOld) bad.add(found.source);
        const other = await this.#findElsewhere(planned, bad);
        if (other === undefined) throw error;
        const { storePath: path } = found.info;
        this.#options.onEvent?.({ type: 'retried', path, source: other.source.uri, error: error as Error });
        found = other;
      }
    }
  }

  /**
   * Another source of the path. It may have another build of it, which is as good if it is trusted, unless that needs
   * what nobody planned to bring.
   */
  async #findElsewhere(planned: FoundPath, bad: Set<PathSource>): Promise<FoundPath | undefined> {
    const { storePath, references } = planned.info;
    const planning = new Set(references);
    for (;;) {
      const other = await this.#options.findElsewhere(storePath, bad).catch(() => undefined);
      if (other === undefined || other.info.references.every((path) => planning.has(path))) return other;
      bad.add(other.source);
    }
  }

  async #receive(found: FoundPath): Promise<void> {
    const { storePath: path, narSize: bytes } = found.info;
    const { onEvent, destination } = this.#options;
    onEvent?.({ type: 'started', path, bytes, source: found.source.uri });
    const reception = await destination.receive(found, {
      onBytes: (count) => onEvent?.({ type: 'progress', path, bytes: count }),
      onFetched: (_, fetched, isDelta) => this.#fetched.set(path, { bytes: fetched, isDelta }),
      signal: this.#signal,
    });
    this.#note(found, reception);
  }

  #note(found: FoundPath, reception: Reception): void {
    const { storePath: path, narSize: bytes } = found.info;
    const { onEvent } = this.#options;
    if (reception === 'busy') {
      this.#busy.push(found);
      if (!this.#announced.has(path)) onEvent?.({ type: 'waiting', path });
      this.#announced.add(path);
      return;
    }
    if (reception === 'present') this.#commits.notePresent(found.info);
    else this.#commits.noteReceived(found.info);
    const fetched = this.#fetched.get(path);
    const { fileSize } = found.info as Partial<NarInfo>;
    onEvent?.({ type: 'finished', path, bytes, fetched: fetched?.bytes, delta: fetched?.isDelta, fileSize });
  }

  async #commit(infos: readonly PathInfo[]): Promise<void> {
    try {
      // Not abortable: a commit under way is seconds at most, and its outcome must be known.
      await this.#options.destination.commit(infos);
    } catch (error) {
      this.#fail(error);
      throw error;
    }
  }

  #fail(error: unknown): void {
    this.#failure ??= { error };
    this.#abort.abort();
  }
}

/** Whether a path that did not come with the others is to be tried by itself; what lies in its place is cleared away then. */
function mayComeAlone(reception: unknown): boolean {
  return (
    reception instanceof Error && (isSourceFault(reception) || hasCode(reception, 'restore-target-exists'))
  );
}
