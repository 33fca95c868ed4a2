import { setTimeout as sleep } from 'node:timers/promises';
import type { DeltaOffer } from '@larder/signing/download';
import type { NarInfo } from '@larder/signing/narinfo';
import type { BinaryCache } from '../binary-cache/binary-cache.js';
import type { LarderApi } from '../binary-cache/larder-api.js';
import type { FoundPath } from '../source-set.js';
import { bareHash, isWorthIts } from './delta-plan.js';

/** Milliseconds between two looks, and between two questions to the server. */
const tick = 50;
const pause = 200;

/** Paths asked about at a time: those that are due, and the last. */
const mostAsked = 100;
const lastAsked = 8;

/** Bytes a second that a link is taken for before anything came over it. */
const assumedSpeed = 2e6;

/** Transfers under way below which the link has room for another. */
const fewTransfers = 2;

/** Bytes of archives given the go-ahead at a time: one large one, or small ones that come in one answer. */
const mostAtOnce = 512 * 1024;

/** Milliseconds that a delta may come later than the archive would: a wait so short is not worth the bytes. */
const grace = 250;

export interface PromisedDeltasOptions {
  /** Whether there is nothing else that the link could be used for. */
  readonly isIdle: () => boolean;
  readonly signal?: AbortSignal;
}

interface Undecided {
  readonly found: FoundPath;
  /** When its delta should be there, in milliseconds of `performance.now()`. */
  due: number;
  readonly settle: (found: FoundPath) => void;
}

/**
 * Paths whose deltas are still being made. Each is told how to come: by its delta once that is there, or as the archive, if
 * the delta comes to nothing, or the link has nothing else to do and the archive would be there sooner. The server makes
 * deltas one after the other, so it is from those it will make last that archives are taken: the two meet in the middle.
 */
export class PromisedDeltas {
  readonly #options: PromisedDeltasOptions;
  #undecided: Undecided[] = [];
  #running: Promise<void> | undefined;
  #asked = 0;

  constructor(options: PromisedDeltasOptions) {
    this.#options = options;
  }

  /** The path with a delta that is there, or with none. Never rejects. */
  decide(found: FoundPath): Promise<FoundPath> {
    const due = found.delta?.due;
    if (due === undefined) return Promise.resolve(found);
    const decided = new Promise<FoundPath>((settle) => this.#undecided.push({ found, due, settle }));
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
    return decided;
  }

  async #run(): Promise<void> {
    const { signal } = this.#options;
    try {
      while (this.#undecided.length > 0) {
        await sleep(tick, undefined, { signal });
        if (performance.now() - this.#asked >= pause) await this.#ask();
        this.#takeArchives();
      }
    } catch {
      // Whatever it is, aborted or not, archives need no delta.
      for (const each of this.#undecided.splice(0)) each.settle(withoutDelta(each.found));
    }
  }

  /** Asks about those that should be there by now, and about the last of them, which tell how the server gets on. */
  async #ask(): Promise<void> {
    const soon = performance.now() + tick;
    const byDue = this.#undecided.toSorted((a, b) => a.due - b.due);
    const due = byDue.filter((each) => each.due <= soon).slice(0, mostAsked);
    const asked = new Set([...due, ...byDue.slice(-lastAsked)]);
    for (const api of new Set(byDue.map(({ found }) => apiOf(found))))
      await this.#askOne(
        api,
        [...asked].filter(({ found }) => apiOf(found) === api),
      );
    this.#asked = performance.now();
  }

  async #askOne(api: LarderApi, asked: readonly Undecided[]): Promise<void> {
    const wanted = asked.map(({ found: { info, delta } }) => ({
      narHash: bareHash(info.narHash),
      bases: [bareHash(delta!.base.narHash)],
    }));
    const offers = await api.queryDeltas(wanted, this.#options.signal);
    const byHash = new Map(offers.map((offer) => [offer.narHash, offer]));
    const now = performance.now();
    let pace = 1;
    for (const each of asked) {
      const offer = byHash.get(bareHash(each.found.info.narHash));
      if (offer?.seconds === undefined) this.#settle(each, withOffer(each.found, offer));
      else {
        const left = Math.max(tick, offer.seconds * 1000);
        pace = left / Math.max(tick, each.due - now);
        each.due = now + left;
      }
    }
    // If the last is to be there sooner or later than was said, so are those before it.
    for (const each of this.#undecided)
      if (!asked.includes(each) && apiOf(each.found) === api) each.due = now + (each.due - now) * pace;
  }

  #takeArchives(): void {
    if (!this.#options.isIdle()) return;
    const now = performance.now();
    let bytes = 0;
    for (const each of this.#undecided.toSorted((a, b) => b.due - a.due)) {
      const { speed } = apiOf(each.found);
      if (speed.transfers >= fewTransfers || bytes >= mostAtOnce) return;
      const size = sizeOf(each.found);
      const seconds = ((bytes + size) * (speed.transfers + 1)) / (speed.bytesPerSecond ?? assumedSpeed);
      if (now + seconds * 1000 + grace >= each.due) continue;
      bytes += size;
      this.#settle(each, withoutDelta(each.found));
    }
  }

  #settle(each: Undecided, found: FoundPath): void {
    this.#undecided = this.#undecided.filter((other) => other !== each);
    each.settle(found);
  }
}

/** Only Larder servers promise. */
function apiOf({ source }: FoundPath): LarderApi {
  return (source as BinaryCache).larder!;
}

function sizeOf({ info }: FoundPath): number {
  return (info as Partial<NarInfo>).fileSize ?? info.narSize;
}

function withoutDelta({ info, source }: FoundPath): FoundPath {
  return { info, source };
}

function withOffer(found: FoundPath, offer: DeltaOffer | undefined): FoundPath {
  const { base } = found.delta!;
  if (offer?.size === undefined || !isWorthIts(offer.size, found.info)) return withoutDelta(found);
  return { ...found, delta: { base, size: offer.size } };
}
