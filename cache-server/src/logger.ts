import { type Logger, pino, stdTimeFunctions } from 'pino';
import type { ServerConfig } from './config.js';

export interface OpenedLog extends AsyncDisposable {
  readonly logger: Logger;
}

/** Structured logs, a JSON object a line, on standard output. Written behind the requests' backs; disposing flushes. */
export function openLog({ level }: ServerConfig['log']): OpenedLog {
  const destination = pino.destination({ dest: 1, sync: false });
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
