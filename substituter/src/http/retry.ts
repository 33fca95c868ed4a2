import { setTimeout as sleep } from 'node:timers/promises';

export interface RetryOptions {
  /** Tries in all. */
  readonly attempts: number;
  /** Whether another try may help after this error. */
  readonly isTransient: (error: unknown) => boolean;
  /** Milliseconds that the other side asked us to wait, if it did. */
  readonly askedDelay?: (error: unknown) => number | undefined;
  readonly onRetry?: (error: unknown, delay: number) => void;
  readonly signal?: AbortSignal;
}

/** The first pause in milliseconds; each next one is twice as long. The same as Nix's. */
const basePause = 250;

/** No server gets to hold us longer than this by `Retry-After`, in milliseconds. */
const longestAskedPause = 60_000;

/**
 * Runs `attempt` until it succeeds, fails for good, or has been tried often enough; then throws its last error.
 * Pauses grow twofold with random jitter, so that clients thrown off together do not come back together.
 */
export async function withRetries<T>(
  attempt: (number: number) => Promise<T>,
  options: RetryOptions,
): Promise<T> {
  for (let number = 1; ; number++) {
    try {
      return await attempt(number);
    } catch (error) {
      options.signal?.throwIfAborted();
      if (number >= options.attempts || !options.isTransient(error)) throw error;
      const delay = retryDelay(number, options.askedDelay?.(error));
      options.onRetry?.(error, delay);
      await sleep(delay, undefined, { signal: options.signal });
    }
  }
}

/** Milliseconds to wait after the try `number` (from 1) failed. */
export function retryDelay(number: number, asked?: number): number {
  const own = basePause * 2 ** (number - 1 + Math.random() / 2);
  return Math.round(Math.max(own, Math.min(asked ?? 0, longestAskedPause)));
}

/** Milliseconds that a `Retry-After` header stands for: a number of seconds or a date. */
export function parseRetryAfter(value: string | undefined, now = Date.now()): number | undefined {
  if (value === undefined) return undefined;
  if (/^\d+$/.test(value.trim())) return Number(value) * 1000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}
