import { LarderError } from '@larder/signing/errors';
import type { StorePath } from '@larder/signing/store-path';
import { storePathHashPart } from '@larder/signing/store-path';
import type { Trust } from '@larder/signing/trust';
import { findTrusted } from '../copy/copy-paths.js';
import type { FoundPath, SourceSet } from '../source-set.js';
import type { PathSource } from '../store.js';

export interface PathIndexOptions {
  readonly sources: SourceSet;
  readonly trusted: Trust;
  readonly requireSignatures: boolean;
  /** For how long an answer is given again, in milliseconds. */
  readonly positiveTtl: number;
  readonly negativeTtl: number;
  /** Narinfos looked up ahead at a time. */
  readonly concurrency: number;
  /** Hears why a path that some cache has is not served. */
  readonly onRefused: (error: LarderError) => void;
}

/** Answers kept in memory; the oldest go first. */
const MOST_ANSWERS = 200_000;

interface Answer {
  readonly found: Promise<FoundPath | undefined>;
  /** Milliseconds since the epoch; until the answer is there, no end. */
  expires: number;
}

/**
 * What the caches behind a proxy have, by hash part. Each answer is kept for a while, those who ask for the same wait
 * for one request, and what a path refers to is looked up before anybody asks: clients go from path to path with a
 * round trip each, and find the proxy knowing already.
 */
export class PathIndex {
  readonly #options: PathIndexOptions;
  readonly #answers = new Map<string, Answer>();
  /** Sources whose archive of a path proved to be bad. */
  readonly #bad = new Map<StorePath, Set<PathSource>>();
  readonly #ahead: StorePath[] = [];
  #looking = 0;
  readonly #abort = new AbortController();

  constructor(options: PathIndexOptions) {
    this.#options = options;
  }

  /** The path with a hash part, at the first source that has it in a form the policy accepts. */
  find(hashPart: string): Promise<FoundPath | undefined> {
    return this.#answer(hashPart, async () => {
      const { sources } = this.#options;
      const path = await sources.findHashPart(hashPart, { signal: this.#abort.signal });
      return path === undefined ? undefined : this.#findPath(path);
    });
  }

  /** Passes a source over for a path from now on: its archive was not what it promised. */
  noteBad({ info, source }: FoundPath): void {
    const bad = this.#bad.get(info.storePath) ?? new Set();
    this.#bad.set(info.storePath, bad.add(source));
    this.#answers.delete(storePathHashPart(info.storePath));
  }

  close(): void {
    this.#abort.abort();
  }

  #answer(hashPart: string, ask: () => Promise<FoundPath | undefined>): Promise<FoundPath | undefined> {
    const known = this.#answers.get(hashPart);
    if (known !== undefined && known.expires > Date.now()) return known.found;
    const answer: Answer = { found: ask(), expires: Number.POSITIVE_INFINITY };
    this.#answers.delete(hashPart);
    this.#answers.set(hashPart, answer);
    for (const oldest of this.#answers.keys()) {
      if (this.#answers.size <= MOST_ANSWERS) break;
      this.#answers.delete(oldest);
    }
    const { positiveTtl, negativeTtl } = this.#options;
    answer.found.then(
      (found) => {
        answer.expires = Date.now() + (found === undefined ? negativeTtl : positiveTtl);
        if (found !== undefined) this.#lookAhead(found.info.references);
      },
      // A failure is no answer: the next one to ask tries again.
      () => this.#answers.delete(hashPart),
    );
    return answer.found;
  }

  async #findPath(path: StorePath): Promise<FoundPath | undefined> {
    const { sources, trusted, requireSignatures, onRefused } = this.#options;
    const destination = { checksTrust: true, storeDir: sources.storeDir };
    const { signal } = this.#abort;
    try {
      const bad = this.#bad.get(path) ?? new Set();
      return await findTrusted(path, bad, { sources, destination, trusted, requireSignatures, signal });
    } catch (error) {
      if (!(error instanceof LarderError) || error.code !== 'signature-untrusted') throw error;
      onRefused(error);
      return undefined;
    }
  }

  #lookAhead(references: readonly StorePath[]): void {
    for (const path of references) {
      if (!this.#answers.has(storePathHashPart(path))) this.#ahead.push(path);
    }
    while (this.#looking < this.#options.concurrency && !this.#abort.signal.aborted) {
      const path = this.#ahead.pop();
      if (path === undefined) return;
      this.#looking++;
      this.#answer(storePathHashPart(path), () => this.#findPath(path))
        // Nobody asked yet: whoever does hears of the failure.
        .catch(() => undefined)
        .finally(() => {
          this.#looking--;
          this.#lookAhead([]);
        });
    }
  }
}
