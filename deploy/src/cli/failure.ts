import { LarderError } from '@larder/signing/errors';
import { readCliEnvironment } from '../config.js';
import { CommanderError } from './commander.js';

/** Says on standard error what went wrong, and gives the exit status. */
export function reportError(error: unknown): number {
  // Commander has printed its own message, and its help counts as success.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  if (error instanceof Error && error.name === 'AbortError') {
    process.stderr.write('larder: interrupted\n');
    return 130;
  }
  process.stderr.write(`larder: ${describe(error)}\n`);
  if (readCliEnvironment().debug && error instanceof Error) process.stderr.write(`${error.stack ?? ''}\n`);
  return error instanceof LarderError && USAGE_CODES.has(error.code) ? 2 : 1;
}

/** Errors in what was typed, wherever they are noticed. */
const USAGE_CODES: ReadonlySet<string> = new Set(['usage', 'store-uri-invalid']);

/** An error's message and those of its causes, as far as they say more. */
function describe(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0)
    return error.errors.map(describe).join('\n  and: ');
  if (!(error instanceof Error)) return String(error);
  const text = error instanceof LarderError ? error.message : describeSystemError(error);
  const cause = error.cause instanceof Error ? describe(error.cause) : '';
  return cause === '' || text.includes(cause) ? text : `${text}: ${cause}`;
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'no such file or directory',
  EACCES: 'permission denied',
  EPERM: 'not permitted',
  EISDIR: 'it is a directory',
  ENOTDIR: 'a part of the path is not a directory',
  ENOSPC: 'no space is left on the device',
  EROFS: 'the file system is read-only',
  EADDRINUSE: 'the address is in use already',
  ECONNREFUSED: 'the connection was refused',
};

function describeSystemError(error: NodeJS.ErrnoException): string {
  const reason = error.code === undefined ? undefined : REASONS[error.code];
  if (reason === undefined) return error.message;
  return error.path === undefined ? `${reason} (${error.message})` : `${error.path}: ${reason}`;
}
