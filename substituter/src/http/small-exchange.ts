import { LarderError } from '@larder/signing/errors';
import type { Dispatcher } from 'undici';
import type { AnswerHead } from './answer.js';
import { shownUrl } from './http-error.js';

/** An answer whose body is there. */
export interface SmallAnswer extends AnswerHead {
  readonly body: Uint8Array;
}

export interface SmallExchangeOptions {
  readonly headers: Readonly<Record<string, string>>;
  /** Whether it may share a connection with others under way. */
  readonly pipelined: boolean;
  /** Bytes of body above which it counts as a mistake. */
  readonly limit: number;
  /** Any of these ends it. */
  readonly signals: readonly AbortSignal[];
}

/**
 * How undici is told that a request need not wait until a connection is idle: it may be repeated, and what comes after it may be
 * sent before its answer begins.
 */
export const pipelinedRequest = { idempotent: true, blocking: false } as const;

/**
 * One GET whose body is taken whole. It makes no stream of the body: for narinfos, of which there are thousands, that takes
 * several times as long as the rest.
 * @throws `cache-refused` for a body that is too long; what the connection throws
 */
export function exchangeSmall(
  dispatcher: Dispatcher,
  url: URL,
  options: SmallExchangeOptions,
): Promise<SmallAnswer> {
  for (const signal of options.signals) signal.throwIfAborted();
  return new Promise((resolve, reject) => {
    const handler = new SmallHandler(url, options, { resolve, reject });
    const { headers, pipelined } = options;
    const path = `${url.pathname}${url.search}`;
    const more = pipelined ? pipelinedRequest : {};
    dispatcher.dispatch({ origin: url.origin, path, method: 'GET', headers, ...more }, handler);
  });
}

interface Settlement {
  readonly resolve: (answer: SmallAnswer) => void;
  readonly reject: (error: unknown) => void;
}

class SmallHandler implements Dispatcher.DispatchHandler {
  readonly #url: URL;
  readonly #options: SmallExchangeOptions;
  readonly #settlement: Settlement;
  #controller: Dispatcher.DispatchController | undefined;
  #head: AnswerHead | undefined;
  #chunks: Buffer[] = [];
  #size = 0;

  constructor(url: URL, options: SmallExchangeOptions, settlement: Settlement) {
    this.#url = url;
    this.#options = options;
    this.#settlement = settlement;
    for (const signal of options.signals) signal.addEventListener('abort', this.#abort);
  }

  /** Called again when what was before it on the connection failed. */
  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#options.signals.some(({ aborted }) => aborted)) this.#abort();
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    statusCode: number,
    headers: AnswerHead['headers'],
  ): void {
    // Another one follows an answer that is only provisional (1xx).
    this.#head = { statusCode, headers };
    this.#chunks = [];
    this.#size = 0;
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    if (this.#size <= this.#options.limit) return;
    const text = `${shownUrl(this.#url)} is longer than ${this.#options.limit} bytes`;
    controller.abort(new LarderError('cache-refused', text));
  }

  onResponseEnd(): void {
    this.#unlisten();
    const body = this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks);
    this.#settlement.resolve({ ...this.#head!, body });
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#unlisten();
    this.#settlement.reject(error);
  }

  readonly #abort = (): void => {
    const signal = this.#options.signals.find(({ aborted }) => aborted);
    const reason: unknown = signal?.reason;
    // Before it has a connection it waits for one: then it is not begun.
    this.#controller?.abort(reason instanceof Error ? reason : new Error('aborted', { cause: reason }));
    if (this.#controller !== undefined) return;
    this.#unlisten();
    this.#settlement.reject(reason);
  };

  #unlisten(): void {
    for (const signal of this.#options.signals) signal.removeEventListener('abort', this.#abort);
  }
}
