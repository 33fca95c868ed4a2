import { setTimeout as sleep } from 'node:timers/promises';
import type { PathInfo } from '@larder/signing/path-info';
import type { StorePath } from '@larder/signing/store-path';

/** Milliseconds a commit waits for more small paths to come along. */
const gatheringTime = 15;

type State = 'waiting' | 'received' | 'committed';

interface Entry {
  /** As planned, then of what was received: another source may have another build of the path. */
  info: PathInfo;
  /** Position in the plan, which has references first. */
  readonly rank: number;
  /** How many paths of the plan it refers to that are not committed. */
  blockers: number;
  state: State;
  readonly referrers: Entry[];
}

/**
 * Commits received paths, references first, in batches: while one commit is under way, what becomes ready
 * gathers for the next. A batch holds whole chains, since paths of one batch may refer to each other.
 */
export class CommitQueue {
  readonly #entries = new Map<StorePath, Entry>();
  readonly #commit: (infos: readonly PathInfo[]) => Promise<void>;
  #ready: Entry[] = [];
  #running: Promise<void> | undefined;

  /** `plan` is sorted, references first. */
  constructor(plan: readonly PathInfo[], commit: (infos: readonly PathInfo[]) => Promise<void>) {
    this.#commit = commit;
    for (const [rank, info] of plan.entries()) {
      const entry: Entry = { info, rank, blockers: 0, state: 'waiting', referrers: [] };
      this.#entries.set(info.storePath, entry);
    }
    for (const entry of this.#entries.values()) {
      for (const reference of entry.info.references) {
        const referred = this.#entries.get(reference);
        if (referred === undefined || referred === entry) continue;
        referred.referrers.push(entry);
        entry.blockers++;
      }
    }
  }

  /** The path's contents are in, and this is what they are; it is committed when the references planned for it are. */
  noteReceived(info: PathInfo): void {
    const entry = this.#entries.get(info.storePath)!;
    entry.info = info;
    entry.state = 'received';
    if (entry.blockers === 0) this.#makeReady(entry);
    this.#start();
  }

  /** Somebody else committed the path. */
  notePresent(info: PathInfo): void {
    const entry = this.#entries.get(info.storePath)!;
    entry.state = 'committed';
    this.#unblock(entry);
    this.#start();
  }

  /** Resolves when all that can be committed is. @throws what a commit threw */
  async drain(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
  }

  /** Paths that were received and could not be committed. */
  uncommitted(): StorePath[] {
    const left = [...this.#entries.values()].filter(({ state }) => state === 'received');
    return left.map(({ info }) => info.storePath);
  }

  /** Counts a path as committed for those that refer to it, which thereby may come into the same batch. */
  #makeReady(entry: Entry): void {
    this.#ready.push(entry);
    this.#unblock(entry);
  }

  #unblock(entry: Entry): void {
    for (const referrer of entry.referrers) {
      referrer.blockers--;
      if (referrer.blockers === 0 && referrer.state === 'received') this.#makeReady(referrer);
    }
  }

  #start(): void {
    if (this.#running !== undefined || this.#ready.length === 0) return;
    const running = this.#run().finally(() => {
      this.#running = undefined;
    });
    this.#running = running;
    running.catch(() => {}); // For drain() to report.
  }

  async #run(): Promise<void> {
    while (this.#ready.length > 0) {
      await sleep(gatheringTime);
      const batch = this.#ready.sort((a, b) => a.rank - b.rank);
      this.#ready = [];
      await this.#commit(batch.map(({ info }) => info));
      for (const entry of batch) entry.state = 'committed';
    }
  }
}
