import { chmod, lstat, readdir, rmdir, unlink } from 'node:fs/promises';

/**
 * Deletes a file or tree, or nothing if there is none. Store directories are read-only, which stops anybody
 * but root from emptying them: they are made writable on the way. Names are handled as bytes, so that one
 * that is not UTF-8 is not mistaken for another.
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
  for (const name of await readdir(path, { encoding: 'buffer' })) {
    await deleteTree(Buffer.concat([prefix, name]));
  }
  await rmdir(path).catch(ignoreAbsence);
}

function ignoreAbsence(error: NodeJS.ErrnoException): undefined {
  if (error.code === 'ENOENT') return undefined;
  throw error;
}
