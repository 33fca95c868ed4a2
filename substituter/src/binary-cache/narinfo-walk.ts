import { setImmediate as turn } from 'node:timers/promises';
import { HAVE_LENGTH, MAX_HAVE } from '@larder/signing/download';
import { HASH_PART_LENGTH, type StorePath } from '@larder/signing/store-path';
import type { LarderApi } from './larder-api.js';

/**
 * One walk over a closure, for the caches that are asked on the way: what they told beyond what they were asked is kept
 * here, for as long as the walk and no longer.
 */
export class ClosureWalkHint {
  readonly #queryHave: (() => Promise<Iterable<StorePath>>) | undefined;
  readonly #answers = new Map<LarderApi, WalkAnswers>();
  #have: Promise<ReadonlySet<string>> | undefined;

  /** `queryHave` gives the paths that need not be looked behind; asked for once, when a cache can make use of it. */
  constructor(queryHave?: () => Promise<Iterable<StorePath>>) {
    this.#queryHave = queryHave;
  }

  /** What this cache said, or will say, in the course of the walk. */
  answersOf(api: LarderApi): WalkAnswers {
    let answers = this.#answers.get(api);
    if (answers === undefined) {
      answers = new WalkAnswers(api, () => this.#loadHave());
      this.#answers.set(api, answers);
    }
    return answers;
  }

  #loadHave(): Promise<ReadonlySet<string>> {
    this.#have ??= (async () => {
      const have = new Set<string>();
      for (const path of (await this.#queryHave?.()) ?? []) {
        have.add(path.slice(0, HAVE_LENGTH));
        if (have.size >= MAX_HAVE) break;
      }
      return have;
    })();
    return this.#have;
  }
}

interface Waiting {
  readonly hashPart: string;
  readonly resolve: (text: string | undefined) => void;
  readonly reject: (error: unknown) => void;
}

const narInfoStart = /^StorePath: \S*\/([0-9a-z]{32})-/m;

/** What one cache says during a walk: the first question brings the whole closure, which answers the later ones. */
export class WalkAnswers {
  readonly #api: LarderApi;
  readonly #queryHave: () => Promise<ReadonlySet<string>>;
  readonly #texts = new Map<string, string>();
  #waiting: Waiting[] = [];

  constructor(api: LarderApi, queryHave: () => Promise<ReadonlySet<string>>) {
    this.#api = api;
    this.#queryHave = queryHave;
  }

  /** A narinfo's text; what is asked for in one turn of the event loop goes in one request. */
  find(hashPart: string, signal?: AbortSignal): Promise<string | undefined> | string {
    const known = this.#texts.get(hashPart);
    if (known !== undefined) return known;
    return new Promise((resolve, reject) => {
      if (this.#waiting.push({ hashPart, resolve, reject }) === 1) void this.#ask(signal);
    });
  }

  async #ask(signal: AbortSignal | undefined): Promise<void> {
    const have = this.#queryHave();
    await turn();
    const waiting = this.#waiting;
    this.#waiting = [];
    const hashParts = [...new Set(waiting.map(({ hashPart }) => hashPart))];
    try {
      const onText = (text: string): void => this.#keep(text);
      const request = { hashParts, have: await have };
      await this.#api.queryNarInfos('closure', request, { onText, signal });
      for (const { hashPart, resolve } of waiting) resolve(this.#texts.get(hashPart));
    } catch (error) {
      for (const { reject } of waiting) reject(error);
    }
  }

  /** By the hash part it says it is about; whoever parses it checks the rest. */
  #keep(text: string): void {
    const hashPart = narInfoStart.exec(text)?.[1];
    if (hashPart?.length === HASH_PART_LENGTH) this.#texts.set(hashPart, text);
  }
}
