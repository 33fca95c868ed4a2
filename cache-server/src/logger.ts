import { type Logger, pino, stdTimeFunctions } from 'pino';
import type { ServerConfig } from './config.js';

export interface OpenedLog extends AsyncDisposable {
  readonly logger: Logger;
}

/** Characters of lines that are written together. */
const GATHERED = 65_536;
/** How long a line waits for others, in milliseconds. */
const PATIENCE = 200;

/** Structured logs, a JSON object a line, on standard output. Written at least five times a second; disposing flushes. */
export function openLog({ level }: ServerConfig['log']): OpenedLog {
  const destination = pino.destination({ dest: 1, sync: false });
  const lines = new LineGatherer((text) => destination.write(text));
  const logger = pino({ level, base: undefined, timestamp: stdTimeFunctions.isoTime }, lines);
  return {
    logger,
    [Symbol.asyncDispose]: () =>
      new Promise<void>((resolve) => {
        lines.flush();
        destination.once('close', () => resolve());
        destination.end();
      }),
  };
}

/**
 * Gathers lines: a write for each would cost a busy server a tenth of its time. The destination could gather them as well,
 * but by a string that grows, which costs it as much again.
 */
class LineGatherer {
  readonly #pass: (text: string) => void;
  #lines: string[] = [];
  #length = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(pass: (text: string) => void) {
    this.#pass = pass;
  }

  write(line: string): void {
    this.#lines.push(line);
    this.#length += line.length;
    if (this.#length >= GATHERED) this.flush();
    else this.#timer ??= setTimeout(() => this.flush(), PATIENCE).unref();
  }

  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#lines.length === 0) return;
    this.#pass(this.#lines.join(''));
    this.#lines = [];
    this.#length = 0;
  }
}
