import { writeSync } from 'node:fs';
import { formatLogError, formatLogMessage } from '@larder/builder/nix-log';
import { LarderError } from '@larder/signing/errors';

/** How much is said, as Nix counts: each `-v` is one more, each `--quiet` one less. */
export const LEVEL = { error: 0, warning: 1, notice: 2, info: 3, talkative: 4, chatty: 5, debug: 6 } as const;

let structured = false;

/** From here on everything is told in lines for programs, as `--log-format internal-json` asks. */
export function useStructuredLog(): void {
  structured = true;
}

/** A line for the user, who has asked for so much. */
export function showLine(text: string, level: number): void {
  process.stderr.write(structured ? formatLogMessage(level, text) : `${text}\n`);
}

/** An error in Nix's form: further lines stand below the first one's text. */
export function showError(message: string): void {
  if (structured) {
    process.stderr.write(formatLogError(message));
    return;
  }
  const label = process.stderr.isTTY ? '\x1b[31;1merror:\x1b[0m' : 'error:';
  process.stderr.write(`${label} ${message.replaceAll('\n', '\n       ')}\n`);
}

export function showWarning(message: string): void {
  const label = process.stderr.isTTY ? '\x1b[35;1mwarning:\x1b[0m' : 'warning:';
  showLine(`${label} ${message}`, LEVEL.warning);
}

/** A mistake in how a tool was called. */
export function usageError(message: string): LarderError<'usage'> {
  return new LarderError('usage', message);
}

/** Something that Nix has and Larder has not: said in so many words, so that nobody looks for a mistake of their own. */
export function notSupported(what: string, instead: string): LarderError<'not-supported'> {
  return new LarderError('not-supported', `${what} is not in Larder's part of Nix: ${instead}`);
}

/**
 * Writes to standard output at once, whatever it is: several processes may share it, and its errors are the tool's.
 * Text is bytes, one a character, where it came out of a derivation (`latin1`).
 */
export function print(data: string | Uint8Array, encoding: 'utf8' | 'latin1' = 'utf8'): void {
  const bytes = typeof data === 'string' ? Buffer.from(data, encoding) : data;
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(1, bytes, at);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5); // A full pipe that does not block.
    }
  }
}

/** Lines, each with its end. */
export function printLines(lines: readonly string[]): void {
  print(lines.map((line) => `${line}\n`).join(''));
}

/** Bytes as Nix shows them. */
export function formatMebibytes(bytes: number): string {
  return (bytes / 1024 ** 2).toFixed(2);
}
