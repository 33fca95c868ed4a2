import {
  chmodSync,
  closeSync,
  fsyncSync,
  lchownSync,
  lstatSync,
  lutimesSync,
  openSync,
  readdirSync,
  type Stats,
} from 'node:fs';
import { LarderError } from '@larder/signing/errors';
import { type ByteString, fromByteString, toByteString, toFsPath } from '@larder/signing/nar-format';
import { STORE_MTIME } from '@larder/signing/nar-restore';

export interface CanonicalizeOptions {
  /** Who must own everything: the build user. Files of others, linked into an output, are refused. */
  readonly owner: number | undefined;
  /** Files done already, by device and inode: outputs of one build may share hard links. */
  readonly seen: Set<string>;
  /** Flush everything to disk. */
  readonly fsync: boolean;
}

/**
 * Gives a tree the metadata that everything in a store has: owned by us, modes 0444 and 0555, changed one
 * second after the epoch. Whatever setuid bits there were are gone with that.
 * @throws `output-invalid` for devices, sockets and pipes, and for files that the build user does not own
 */
export function canonicalizeTree(path: string, options: CanonicalizeOptions): void {
  canonicalize(toByteString(path), options);
}

function canonicalize(path: ByteString, options: CanonicalizeOptions): void {
  const file = toFsPath(path);
  const status = lstatSync(file);
  if (!status.isFile() && !status.isDirectory() && !status.isSymbolicLink()) {
    throw invalid(path, 'has an unsupported type');
  }
  const identity = `${status.dev}:${status.ino}`;
  if (options.owner !== undefined && status.uid !== options.owner) {
    if (status.isDirectory() || !options.seen.has(identity)) throw invalid(path, 'has an invalid ownership');
    return;
  }
  if (!status.isDirectory() && status.nlink > 1) {
    if (options.seen.has(identity)) return;
    options.seen.add(identity);
  }
  setMetadata(file, status);
  if (status.isDirectory()) {
    for (const name of readdirSync(file, 'latin1')) canonicalize(`${path}/${name}`, options);
  }
  if (options.fsync && !status.isSymbolicLink()) flush(file);
}

function setMetadata(file: string | Buffer, status: Stats): void {
  const uid = process.geteuid?.() ?? status.uid;
  // First the owner: a change of owner would clear bits of the mode, and is not ours to make on links alone.
  if (status.uid !== uid) lchownSync(file, uid, process.getegid?.() ?? status.gid);
  if (!status.isSymbolicLink()) {
    const mode = status.mode & 0o7777;
    if (mode !== 0o444 && mode !== 0o555) chmodSync(file, 0o444 | (mode & 0o100 ? 0o111 : 0));
  }
  if (status.mtimeMs !== STORE_MTIME * 1000)
    lutimesSync(file, Math.floor(status.atimeMs / 1000), STORE_MTIME);
}

function flush(file: string | Buffer): void {
  const fd = openSync(file, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function invalid(path: ByteString, why: string): LarderError {
  return new LarderError('output-invalid', `file '${fromByteString(path)}' of an output ${why}`);
}
