import { lstatSync, readdirSync } from 'node:fs';

const blockSize = 512;

/** The bytes on disk that deleting a tree would free: files that have other names too free nothing. */
export function sizeOnDisk(path: string | Buffer): number {
  const status = lstatSync(path, { throwIfNoEntry: false });
  if (status === undefined) return 0;
  if (!status.isDirectory()) return status.nlink > 1 ? 0 : status.blocks * blockSize;
  let size = status.blocks * blockSize;
  const prefix = Buffer.concat([typeof path === 'string' ? Buffer.from(path) : path, Buffer.from('/')]);
  for (const name of readdirSync(path, { encoding: 'buffer' }))
    size += sizeOnDisk(Buffer.concat([prefix, name]));
  return size;
}
