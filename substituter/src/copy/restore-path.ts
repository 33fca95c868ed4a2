import { decompress } from '@larder/signing/codec';
import type { Compression } from '@larder/signing/compression';
import { deltaPath } from '@larder/signing/download';
import { hasCode } from '@larder/signing/errors';
import { Hasher } from '@larder/signing/hash';
import { NarParser } from '@larder/signing/nar-parser';
import { NarRestorer } from '@larder/signing/nar-restore';
import type { NarWork } from '@larder/signing/nar-work';
import type { NarInfo } from '@larder/signing/narinfo';
import type { PathInfo } from '@larder/signing/path-info';
import { BinaryCache } from '../binary-cache/binary-cache.js';
import type { RemoteFile } from '../http/http-client.js';
import { deleteTree } from '../local-store/delete-tree.js';
import type { FoundPath } from '../source-set.js';
import { bareHash } from './delta-plan.js';
import { checkNar, nameSource } from './nar-mismatch.js';

export interface RestoreOptions {
  readonly work: NarWork;
  /** Where the tree goes; nothing is there. */
  readonly directory: string;
  readonly fsync: boolean;
  /** Called with the bytes of NAR that came, as far as can be told while they are compressed. */
  readonly onBytes?: (count: number) => void;
  /** Called at the end with the bytes that came as they were sent. */
  readonly onFetched?: (bytes: number, isDelta: boolean) => void;
  readonly signal?: AbortSignal;
}

/**
 * Restores a path's NAR with canonical metadata and checks its hash and size against the path's info.
 * @throws `nar-hash-mismatch`, `nar-size-mismatch`, `nar-malformed`, `codec-…`, naming the path and its source; what was
 * restored until then is the caller's to remove
 */
export async function restorePath(found: FoundPath, options: RestoreOptions): Promise<void> {
  const { info, source } = found;
  const { signal } = options;
  const elsewhere = (): Promise<RemoteFile | undefined> => findSameFile(found);
  const { compression, bytes } = source.openPacked(info, { signal, elsewhere });
  let fetched = 0;
  const input = countBytes(found, bytes, (count, nar) => {
    fetched += count;
    options.onBytes?.(nar);
  });
  try {
    if (info.narSize <= inPlaceSize) await restoreInPlace(found, input, { ...options, compression });
    else await restoreInWorker(info, input, { ...options, compression });
  } catch (error) {
    throw nameSource(error, found);
  }
  options.onFetched?.(fetched, false);
}

/** The same file at another cache: then its bytes can go on where those of the first one end. */
async function findSameFile({ info, elsewhere }: FoundPath): Promise<RemoteFile | undefined> {
  const other = await elsewhere?.();
  const { fileHash } = info as NarInfo;
  if (!(other?.source instanceof BinaryCache) || fileHash === undefined) return undefined;
  const theirs = other.info as NarInfo;
  return theirs.fileHash?.equals(fileHash) === true ? other.source.files.locate?.(theirs.url) : undefined;
}

/** Deltas that were not there, a source that cannot be asked which ones are. */
const misses = new WeakMap<BinaryCache, number>();
/** So many in a row, and the source counts as one without any. */
const mostMisses = 3;

/**
 * The same from a delta to what is in `base`, where the plan has one. False when that did not work, whatever the reason:
 * nothing is left behind then, and the archive is to be fetched.
 */
export async function restoreFromDelta(
  found: FoundPath,
  { base, ...options }: RestoreOptions & { readonly base: string },
): Promise<boolean> {
  const { info, source, delta } = found;
  if (delta === undefined || !(source instanceof BinaryCache)) return false;
  if (source.larder === undefined && (misses.get(source) ?? 0) >= mostMisses) return false;
  const { work, directory: target, fsync, onBytes, signal } = options;
  const name = deltaPath(bareHash(delta.base.narHash), bareHash(info.narHash));
  try {
    const { narHash, narSize } = info;
    const { fileSize } = await work.restoreNar(source.openFile(name, delta.size, { signal }), {
      ...{ compression: 'none', target, fsync, narHash, narSize, base, signal, onBytes },
    });
    misses.delete(source);
    options.onFetched?.(fileSize, true);
    return true;
  } catch (error) {
    signal?.throwIfAborted();
    if (hasCode(error, 'restore-target-exists')) throw error;
    if (hasCode(error, 'cache-file-missing')) misses.set(source, (misses.get(source) ?? 0) + 1);
    await deleteTree(target);
    return false;
  }
}

type PackedRestore = RestoreOptions & { readonly compression: Compression };

async function restoreInWorker(
  { narHash, narSize }: PathInfo,
  input: AsyncIterable<Uint8Array>,
  { work, compression, directory: target, fsync, signal }: PackedRestore,
): Promise<void> {
  await work.restoreNar(input, { compression, target, fsync, narHash, narSize, signal });
}

/** To this size in bytes, taking an archive to a worker costs more than restoring it: over twice as much for 10 kB. */
const inPlaceSize = 64 * 1024;

async function restoreInPlace(
  found: FoundPath,
  input: AsyncIterable<Uint8Array>,
  { compression, directory, fsync, signal }: PackedRestore,
): Promise<void> {
  const restorer = new NarRestorer(directory, { canonical: true, fsync });
  const parser = new NarParser(restorer);
  const hasher = new Hasher('sha256');
  try {
    for await (const chunk of decompress(input, compression, {
      lend: true,
      maxSize: found.info.narSize,
      signal,
    })) {
      hasher.update(chunk);
      parser.write(chunk);
    }
    parser.end();
  } finally {
    restorer.close();
  }
  checkNar(found, { narHash: hasher.digest(), narSize: hasher.size });
}

async function* countBytes(
  { info }: FoundPath,
  source: AsyncIterable<Uint8Array>,
  onBytes: (count: number, nar: number) => void,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { fileSize } = info as Partial<NarInfo>;
  const factor = fileSize === undefined || fileSize === 0 ? 1 : info.narSize / fileSize;
  for await (const chunk of source) {
    onBytes(chunk.length, chunk.length * factor);
    yield chunk;
  }
}
