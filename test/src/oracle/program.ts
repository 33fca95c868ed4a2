import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { LarderError } from '@larder/signing/errors';

/** What a program did. */
export interface ProgramResult {
  /** Exit code, or 128 and the signal's number as a shell gives it. */
  readonly status: number;
  readonly stdout: Buffer;
  readonly stderr: string;
}

export interface ProgramOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** What it reads on standard input; nothing when absent. */
  readonly input?: Uint8Array | string | AsyncIterable<Uint8Array>;
  readonly signal?: AbortSignal;
}

/** Runs a program to its end, whatever its exit code. */
export async function tryProgram(
  command: string,
  args: readonly string[],
  options: ProgramOptions = {},
): Promise<ProgramResult> {
  const { env, cwd, signal, input } = options;
  const child = spawn(command, args, { env, cwd, signal, stdio: ['pipe', 'pipe', 'pipe'] });
  const exit = once(child, 'close') as Promise<[code: number | null, signal: NodeJS.Signals | null]>;
  const source = input === undefined ? [] : isBytes(input) ? [input] : input;
  // A program may end without reading all of its input: that is for its exit code to tell.
  const feed = pipeline(Readable.from(source, { objectMode: false }), child.stdin).catch(() => undefined);
  const [stdout, stderr, [code]] = await Promise.all([
    buffer(child.stdout),
    buffer(child.stderr),
    exit,
    feed,
  ]);
  return { status: code ?? 128, stdout, stderr: stderr.toString() };
}

/**
 * Runs a program that must succeed; returns what it printed.
 * @throws LarderError `program-failed` with its standard error.
 */
export async function runProgram(
  command: string,
  args: readonly string[],
  options: ProgramOptions = {},
): Promise<Buffer> {
  const { status, stdout, stderr } = await tryProgram(command, args, options);
  if (status === 0) return stdout;
  throw new LarderError(
    'program-failed',
    `${command} ${args.join(' ')} ended with ${status}:\n${stderr}\n${stdout}`,
  );
}

function isBytes(input: object | string): input is Uint8Array | string {
  return typeof input === 'string' || input instanceof Uint8Array;
}
