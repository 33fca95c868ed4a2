import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { LarderError } from '@larder/signing/errors';

/** Runs a command until standard input closes: see there. */
export const guard: string = engineScript('guard.sh');
/** Runs a command again whenever it was killed: see there. */
export const restarting: string = engineScript('restarting.sh');

/** A script of `test/engines`. */
export function engineScript(name: string): string {
  return fileURLToPath(new URL(`../../engines/${name}`, import.meta.url));
}

/** Kills the process whose id a file has, without warning. */
export async function killByFile(file: string): Promise<void> {
  const pid = Number(await readFile(file, 'utf8'));
  // Between two lives of it there is nothing to kill.
  if (pid > 1) tryKill(pid);
}

function tryKill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}

/** A service that lives as long as its holder: it ends when disposed of, and when this process dies. */
export interface GuardedProcess extends AsyncDisposable {
  readonly pid: number;
}

export interface GuardedOptions {
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Whether the service answers by now; `output` is what it has printed. Asked until true. */
  readonly isReady: (output: string) => boolean | Promise<boolean>;
  /** Milliseconds it may take to become ready. Default: 90 s. */
  readonly timeout?: number;
}

/**
 * Starts a command whose standard input is its life-line (`test/engines/guard.sh`): it must end when that closes.
 * @throws LarderError `engine-failed` with what it printed, when it ends or stays silent instead of becoming ready.
 */
export async function startGuarded(options: GuardedOptions): Promise<GuardedProcess> {
  const child = spawn(options.command, options.args, {
    stdio: ['pipe', 'pipe', 'pipe'],
    ...(options.env === undefined ? {} : { env: options.env }),
    // A terminal's Ctrl-C goes to the whole group: the service ends with its holder, not before it.
    detached: true,
  });
  let output = '';
  const keep = (chunk: string): void => {
    output = (output + chunk).slice(-16_384);
  };
  child.stdout.setEncoding('utf8').on('data', keep);
  child.stderr.setEncoding('utf8').on('data', keep);
  child.stdin.on('error', () => undefined);
  let spawnError: Error | undefined;
  child.once('error', (error) => {
    spawnError = error;
  });
  const deadline = Date.now() + (options.timeout ?? 90_000);
  for (;;) {
    if (spawnError !== undefined || hasEnded(child) || Date.now() > deadline) {
      await stop(child);
      const message = `${options.command} ${options.args.join(' ')} did not become ready:\n${output}`;
      throw new LarderError('engine-failed', message, { cause: spawnError });
    }
    if (await options.isReady(output)) break;
    await delay(20);
  }
  release(child);
  return { pid: child.pid ?? 0, [Symbol.asyncDispose]: () => stop(child) };
}

/** A forgotten service must not keep a finished test process alive. */
function release(child: ChildProcess): void {
  child.unref();
  for (const stream of [child.stdin, child.stdout, child.stderr]) {
    if (stream !== null && 'unref' in stream && typeof stream.unref === 'function') stream.unref();
  }
}

async function stop(child: ChildProcess): Promise<void> {
  if (hasEnded(child) || child.pid === undefined) return;
  child.ref();
  const ended = once(child, 'exit');
  child.stdin?.end();
  const forced = setTimeout(() => child.kill('SIGKILL'), 20_000);
  await ended;
  clearTimeout(forced);
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}
