import { type Logger, pino, stdTimeFunctions } from 'pino';
import type { ServerConfig } from './config.js';

export interface OpenedLog extends AsyncDisposable {
  readonly logger: Logger;
}

/** Structured logs, a JSON object a line, on standard output. Written at least five times a second; disposing flushes. */
export function openLog({ level }: ServerConfig['log']): OpenedLog {
  // Lines are gathered: a write for each would cost a busy server a tenth of its time.
  const destination = pino.destination({ dest: 1, sync: false, minLength: 8192, periodicFlush: 200 });
  const logger = pino({ level, base: undefined, timestamp: stdTimeFunctions.isoTime }, destination);
  return {
    logger,
    [Symbol.asyncDispose]: () =>
      new Promise<void>((resolve) => {
        destination.once('close', () => resolve());
        destination.end();
      }),
  };
}
