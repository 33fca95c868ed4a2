import { setTimeout as delay } from 'node:timers/promises';
import { LarderError } from '@larder/signing/errors';

/** How long a client goes on trying, in milliseconds. */
const PATIENCE = 60_000;
/** How long one request may take. */
const TIMEOUT = 20_000;

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Buffer;
}

export interface Question {
  readonly method?: string;
  readonly body?: Buffer | string;
  /** Statuses besides 2xx that say all there is to say. */
  readonly expect?: readonly number[];
  readonly signal?: AbortSignal;
}

/** What clients met. */
export class Tally {
  requests = 0;
  /** Answers that were tried again, by what was wrong. */
  readonly retried = new Map<string, number>();
  /** The longest a request took until it went well, in milliseconds. */
  slowest = 0;
  /** What no retry cures, or must not be. */
  readonly faults: string[] = [];

  retry(why: string): void {
    this.retried.set(why, (this.retried.get(why) ?? 0) + 1);
  }
}

/** A client that tries again, as every client of a cache does: with pauses, while the server is away or says so. */
export class SoakClient {
  readonly #url: string;
  readonly #token: string;
  readonly tally: Tally;

  constructor(url: string, token: string, tally: Tally) {
    this.#url = url;
    this.#token = token;
    this.tally = tally;
  }

  json(path: string, body: unknown, question: Question = {}): Promise<Answer> {
    return this.request(path, { method: 'POST', ...question, body: JSON.stringify(body) });
  }

  /** @throws `soak-failed` for what no retry cured */
  async request(path: string, question: Question = {}): Promise<Answer> {
    const started = Date.now();
    for (let pause = 100; ; pause = Math.min(pause * 1.6, 2000)) {
      const outcome = await this.#attempt(path, question);
      if (typeof outcome === 'object') {
        this.tally.slowest = Math.max(this.tally.slowest, Date.now() - started);
        return outcome;
      }
      this.tally.retry(outcome);
      if (Date.now() > started + PATIENCE)
        throw new LarderError('soak-failed', `${question.method ?? 'GET'} ${path}: still ${outcome}`);
      await delay(pause * (0.5 + Math.random()));
    }
  }

  /** An answer, or why it is to be tried again. */
  async #attempt(path: string, { method = 'GET', body, expect = [] }: Question): Promise<Answer | string> {
    this.tally.requests++;
    try {
      const answer = await fetch(`${this.#url}${path}`, {
        method,
        headers: { authorization: `Bearer ${this.#token}` },
        signal: AbortSignal.timeout(TIMEOUT),
        ...(body === undefined ? {} : { body }),
      });
      const bytes = Buffer.from(await answer.arrayBuffer());
      const { status } = answer;
      if (answer.ok || expect.includes(status)) return { status, headers: answer.headers, body: bytes };
      if (status === 500) this.tally.faults.push(`${method} ${path}: 500 ${bytes.toString()}`);
      if (status >= 500 || status === 429) return `${status}`;
      throw new LarderError('soak-failed', `${method} ${path}: ${status} ${bytes.toString().slice(0, 500)}`);
    } catch (error) {
      if (error instanceof LarderError) throw error;
      return error instanceof Error && error.name === 'TimeoutError' ? 'timeout' : 'connection';
    }
  }
}
