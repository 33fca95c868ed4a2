import { writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { LarderError } from '@larder/signing/errors';
import { componentCommand } from '../engines/components.js';
import { neutralEnvironment } from '../engines/config.js';
import { makeScratch } from '../engines/scratch.js';
import { runProgram } from '../oracle/program.js';

/** What a server did under load. */
export interface LoadResult {
  readonly requestsPerSecond: number;
  readonly megabytesPerSecond: number;
}

export interface LoadOptions {
  readonly connections: number;
  readonly seconds: number;
}

/** Asks a server for these paths, round and round, over some connections that stay open (wrk). */
export async function load(
  url: string,
  paths: readonly string[],
  { connections, seconds }: LoadOptions,
): Promise<LoadResult> {
  await using scratch = await makeScratch('load');
  await writeFile(scratch.join('paths'), `${paths.join('\n')}\n`);
  const script = fileURLToPath(new URL('../../bench/cycle.lua', import.meta.url));
  const output = await runProgram(
    componentCommand('load', 'wrk'),
    [
      ...['--threads', '1', '--connections', `${connections}`, '--duration', `${seconds}s`],
      ...['--timeout', '60s', '--script', script, url, '--', scratch.join('paths')],
    ],
    { env: neutralEnvironment(scratch.path) },
  );
  const result = /^RESULT (\d+) (\d+) (\d+) (\d+)$/m.exec(output.toString());
  const [requests = 0, bytes = 0, microseconds = 1, failed = 0] = result?.slice(1).map(Number) ?? [];
  if (result === null || failed > 0)
    throw new LarderError('load-failed', `wrk on ${url}:\n${output.toString()}`);
  return {
    requestsPerSecond: requests / (microseconds / 1e6),
    megabytesPerSecond: bytes / microseconds,
  };
}
