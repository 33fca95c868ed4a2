import { spawn } from 'node:child_process';
import { LarderError } from '@larder/signing/errors';
import { childEnvironment } from '../config.js';

/** The generation made right afterwards is the root that Nix misses here. */
const ROOT_WARNING = /^warning: you did not specify '--add-root'.*\n/gm;

/** Passes on what an evaluation had to say. */
export function showMessages(text: string): void {
  process.stderr.write(text.replaceAll(ROOT_WARNING, ''));
}

export interface NixProcessOptions {
  /** Passes standard error on as it comes; it is collected either way. */
  readonly showErrors?: boolean;
  /** Variables over those of this process. */
  readonly environment?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

export interface NixResult {
  readonly status: number;
  readonly output: string;
  readonly errors: string;
}

/**
 * Runs one of Nix's programs, or one that stands in for it, to its end.
 * @throws `nix-absent`
 */
export async function runNix(
  [program, ...args]: readonly string[],
  { showErrors = false, environment, signal }: NixProcessOptions = {},
): Promise<NixResult> {
  const env = environment === undefined ? undefined : childEnvironment(environment);
  const child = spawn(program!, args, { stdio: ['ignore', 'pipe', 'pipe'], env, signal });
  const output: Buffer[] = [];
  const errors: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => output.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => {
    errors.push(chunk);
    if (showErrors) process.stderr.write(chunk.toString('latin1').replaceAll(ROOT_WARNING, ''), 'latin1');
  });
  const status = await new Promise<number>((resolve, reject) => {
    child.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') return reject(error);
      const message = `${program} is not installed: install Nix, or use --evaluator larder`;
      reject(new LarderError('nix-absent', message, { cause: error }));
    });
    child.once('close', (code) => resolve(code ?? 1));
  });
  const text = (chunks: readonly Buffer[]): string => Buffer.concat(chunks).toString('utf8');
  return { status, output: text(output), errors: text(errors) };
}

/** Which store Nix's programs work on: the machine's, or one below a directory. */
export function storeArguments(rootDirectory: string): string[] {
  return rootDirectory === '' ? [] : ['--store', rootDirectory];
}

export function settingArguments(settings: readonly (readonly [name: string, value: string])[]): string[] {
  return settings.flatMap(([name, value]) => ['--option', name, value]);
}
