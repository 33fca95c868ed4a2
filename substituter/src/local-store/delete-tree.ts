import { chmod, lstat, readdir, rmdir, unlink } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { LarderError } from '@larder/signing/errors';

/** How often a directory is emptied that somebody fills meanwhile, and the milliseconds between. */
const MOST_TRIES = 40;
const PAUSE = 50;

/**
 * Deletes a file or tree, or nothing if there is none. Store directories are read-only, which stops anybody
 * but root from emptying them: they are made writable on the way. Names are handled as bytes, so that one
 * that is not UTF-8 is not mistaken for another. Whoever writes there still, such as the builder of a run that was killed a
 * moment ago, is given two seconds to end.
 */
export async function deleteTree(path: string | Buffer): Promise<void> {
  const status = await lstat(path).catch(ignoreAbsence);
  if (status === undefined) return;
  if (!status.isDirectory()) {
    await unlink(path).catch(ignoreAbsence);
    return;
  }
  if ((status.mode & 0o700) !== 0o700) await chmod(path, 0o700);
  const prefix = Buffer.concat([typeof path === 'string' ? Buffer.from(path) : path, Buffer.from('/')]);
  for (let tries = 1; ; tries++) {
    for (const name of await readdir(path, { encoding: 'buffer' }))
      await deleteTree(Buffer.concat([prefix, name]));
    const isLeft = await rmdir(path).then(() => false, isFilled);
    if (!isLeft) return;
    if (tries === MOST_TRIES)
      throw new LarderError(
        'delete-failed',
        `cannot delete ${path.toString()}: somebody goes on writing there`,
      );
    await delay(PAUSE);
  }
}

/** Whether a directory is not empty any more. */
function isFilled(error: NodeJS.ErrnoException): boolean {
  if (error.code === 'ENOTEMPTY' || error.code === 'EEXIST') return true;
  ignoreAbsence(error);
  return false;
}

function ignoreAbsence(error: NodeJS.ErrnoException): undefined {
  if (error.code === 'ENOENT') return undefined;
  throw error;
}
