import type { RemoteFile } from '../http/http-client.js';
import type { ReadOptions } from '../store.js';
import type { LarderApi } from './larder-api.js';

/** Bytes to be put into a cache, which can be read more than once: a failed upload starts over. */
export interface FileContents {
  readonly size: number;
  /** A file of ours that holds just these bytes, which a cache on the same disk may take instead of a copy. */
  readonly path?: string;
  open(): AsyncIterable<Uint8Array>;
}

export interface WriteOptions extends ReadOptions {
  readonly contentType: string;
  /** How the contents are coded already, for servers that replay it. */
  readonly contentEncoding?: string;
}

/**
 * The files of a binary cache, by the names Nix gives them below the cache's root (`nix-cache-info`,
 * `<hash>.narinfo`, `nar/<hash>.nar.xz`): the part in which caches on a disk, on a web server and in a bucket
 * differ.
 */
export interface CacheFiles {
  /** How messages name the cache. */
  readonly uri: string;
  /** A small file whole, or `undefined` when it is not there. */
  read(name: string, options?: ReadOptions): Promise<Uint8Array | undefined>;
  /** A file of any size. @throws `cache-file-missing` */
  open(name: string, options?: ReadOptions): AsyncIterable<Uint8Array>;
  exists(name: string, options?: ReadOptions): Promise<boolean>;
  /** The names of the files directly in the root or, of a folder, of all below it: for caches that can tell. */
  list?(folder?: string): AsyncIterable<string>;
  /** Puts a file, which appears whole or not at all. */
  write(name: string, contents: FileContents, options: WriteOptions): Promise<void>;
  /** Where a file is on the web. */
  locate?(name: string): RemoteFile;
  /** The physical file, where there is one that a worker may read by itself. */
  localPath?(name: string): string | undefined;
  /** Where temporary files are best made, so that putting them is a rename. */
  readonly scratchDirectory?: string;
  /** There once \`nix-cache-info\` was read from a Larder server. */
  readonly larder?: LarderApi | undefined;
  close(): Promise<void>;
}

/** Contents held in memory. */
export function fileContents(data: Uint8Array | string): FileContents {
  const bytes = typeof data === 'string' ? Buffer.from(data) : data;
  return {
    size: bytes.length,
    async *open() {
      yield bytes;
    },
  };
}

/** How a cache is named where it is remembered: without parameters, which say how it is used and not what it says. */
export function cacheUrl(uri: string): string {
  return uri.replace(/\?.*$/, '').replace(/\/+$/, '');
}
