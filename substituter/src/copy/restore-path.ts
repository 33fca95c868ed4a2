import type { NarWork } from '@larder/signing/nar-work';
import type { NarInfo } from '@larder/signing/narinfo';
import type { FoundPath } from '../source-set.js';
import { nameSource } from './nar-mismatch.js';

export interface RestoreOptions {
  readonly work: NarWork;
  /** Where the tree goes; nothing is there. */
  readonly directory: string;
  readonly fsync: boolean;
  /** Called with the bytes of NAR that came, as far as can be told while they are compressed. */
  readonly onBytes?: (count: number) => void;
  readonly signal?: AbortSignal;
}

/**
 * Restores a path's NAR with canonical metadata, in a worker, and checks its hash and size against the path's info.
 * @throws `nar-hash-mismatch`, `nar-size-mismatch`, `nar-malformed`, `codec-…`, naming the path and its source; what was
 * restored until then is the caller's to remove
 */
export async function restorePath(found: FoundPath, options: RestoreOptions): Promise<void> {
  const { info, source } = found;
  const { work, directory: target, fsync, signal } = options;
  const { compression, bytes } = source.openPacked(info, { signal });
  const { narHash, narSize } = info;
  try {
    await work.restoreNar(countBytes(found, bytes, options.onBytes), {
      ...{ compression, target, fsync, narHash, narSize, signal },
    });
  } catch (error) {
    throw nameSource(error, found);
  }
}

async function* countBytes(
  { info }: FoundPath,
  source: AsyncIterable<Uint8Array>,
  onBytes: ((count: number) => void) | undefined,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { fileSize } = info as Partial<NarInfo>;
  const factor = fileSize === undefined || fileSize === 0 ? 1 : info.narSize / fileSize;
  for await (const chunk of source) {
    onBytes?.(chunk.length * factor);
    yield chunk;
  }
}
