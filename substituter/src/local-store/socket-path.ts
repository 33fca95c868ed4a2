import { closeSync, existsSync, openSync } from 'node:fs';
import { basename, dirname } from 'node:path';

/** Bytes that the address of a Unix socket may have on every system; longer ones are cut off without a word. */
const MAX_ADDRESS_LENGTH = 100;

/** A path under which a socket can be reached. */
export interface SocketPath extends Disposable {
  readonly path: string;
}

/**
 * Another, short name for a socket whose path is too long for an address: the same file, by way of its directory, which is
 * held open until this is disposed. State directories can lie deep (Nix changes into them instead).
 */
export function shortSocketPath(path: string): SocketPath {
  if (Buffer.byteLength(path) <= MAX_ADDRESS_LENGTH || !existsSync('/proc/self/fd')) {
    return { path, [Symbol.dispose]: () => {} };
  }
  const directory = openSync(dirname(path), 'r');
  return {
    path: `/proc/self/fd/${directory}/${basename(path)}`,
    [Symbol.dispose]: () => closeSync(directory),
  };
}
