import { execFile } from 'node:child_process';
import { chmod, mkdtemp } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** A temporary directory that goes when its holder is done: `await using scratch = await makeScratch('copy')`. */
export interface Scratch extends AsyncDisposable {
  readonly path: string;
  /** A path inside. */
  join(...names: string[]): string;
}

/** Makes an empty temporary directory; `label` shows in its name. */
export async function makeScratch(label: string): Promise<Scratch> {
  const path = await mkdtemp(join(tmpdir(), `larder-${label}-`));
  return {
    path,
    join: (...names) => join(path, ...names),
    async [Symbol.asyncDispose]() {
      if (deferred === undefined) await removeTree(path);
      else deferred.push(path);
    },
  };
}

let deferred: string[] | undefined;

/**
 * Until it is disposed of, temporary directories stay when their holders are done. ext4 does not use the inodes of what was
 * deleted within the last minutes, and looks through all of them for every file it makes: whatever is timed after a large
 * tree was removed pays for that, up to half of its time.
 */
export function deferRemoval(): AsyncDisposable {
  const paths: string[] = [];
  deferred = paths;
  return {
    async [Symbol.asyncDispose]() {
      deferred = undefined;
      for (const path of paths) await removeTree(path);
    },
  };
}

/** Removes a tree, store paths with read-only directories included. */
export async function removeTree(path: string): Promise<void> {
  // rm does what Node's rm cannot: names that are not UTF-8, and trees deeper than a path may be long.
  const run = promisify(execFile);
  await chmod(path, 0o700).catch(() => undefined);
  if (process.getuid?.() !== 0) await run('chmod', ['-R', 'u+w', path]).catch(() => undefined);
  await run('rm', ['-rf', '--', path]);
}

/** A TCP port of 127.0.0.1 that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  await new Promise<void>((resolve) => server.close(() => resolve()));
  if (address === null || typeof address === 'string') throw new TypeError('a TCP server has a port');
  return address.port;
}
