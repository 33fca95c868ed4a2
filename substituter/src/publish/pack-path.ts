import { compress, decompress } from '@larder/signing/codec';
import type { Compression, WritableCompression } from '@larder/signing/compression';
import type { NarStream, NarSummary, NarWork, VerifyNarOptions } from '@larder/signing/nar-work';
import { checkNar, nameSource } from '../copy/nar-mismatch.js';
import { LocalStore } from '../local-store/local-store.js';
import type { FoundPath } from '../source-set.js';
import type { PackedSource } from '../store.js';

export interface PackPathOptions {
  readonly work: NarWork;
  /** What to pack in; `any` takes a cache's archive as it is. */
  readonly compression: WritableCompression | 'any';
  /** For `any`, when the source keeps its archives unpacked. */
  readonly otherwise?: WritableCompression;
  readonly level?: number;
  readonly signal: AbortSignal;
}

/**
 * A path's NAR, packed for publishing and checked against the path's info while it passes: the last chunk comes only
 * after the check, since a file that changed in the store must not be published under the hash it had.
 * @throws `nar-hash-mismatch` and its like in place of the stream's end
 */
export function packPath(found: FoundPath, options: PackPathOptions): PackedSource {
  const { info, source } = found;
  const { work, level, signal } = options;
  const { narHash, narSize } = info;
  if (source instanceof LocalStore) {
    const compression = options.compression === 'any' ? (options.otherwise ?? 'zstd') : options.compression;
    const dump = () => work.dumpNar(source.realPath(info.storePath), { compression, level, narSize, signal });
    return { compression, bytes: checked(found, dump) };
  }
  const packed = source.openPacked(info, { signal });
  const compression = options.compression === 'any' ? packed.compression : options.compression;
  const expected = { compression: packed.compression, narHash, narSize, signal };
  if (compression === packed.compression) {
    return {
      compression,
      bytes: checked(found, () => work.verifyNar(packed.bytes, { ...expected, output: 'same' })),
    };
  }
  if (compression === 'zstd') {
    const repacked = () => work.verifyNar(packed.bytes, { ...expected, level, output: 'seekable' });
    return { compression, bytes: checked(found, repacked) };
  }
  return { compression, bytes: checked(found, () => repack(packed, { compression, expected, options })) };
}

interface Repacking {
  readonly compression: Compression;
  readonly expected: Omit<VerifyNarOptions, 'output'>;
  readonly options: PackPathOptions;
}

/** Verifies in a worker, and packs here what came out. */
function repack(packed: PackedSource, { compression, expected, options }: Repacking): NarStream<NarSummary> {
  const { work, level, signal } = options;
  const plain = decompress(packed.bytes, packed.compression, { maxSize: expected.narSize, signal });
  const verified = work.verifyNar(plain, { ...expected, compression: 'none', output: 'same' });
  return { output: compress(verified.output, compression, { level, signal }), result: verified.result };
}

/**
 * Passes the bytes on one chunk late, the last one once the result is known to be right. The work starts with the
 * first chunk that is asked for.
 */
async function* checked(
  found: FoundPath,
  start: () => NarStream<NarSummary>,
): AsyncGenerator<Uint8Array, void, undefined> {
  let held: Uint8Array | undefined;
  try {
    const { output, result } = start();
    for await (const chunk of output) {
      if (held !== undefined) yield held;
      held = chunk;
    }
    checkNar(found, await result);
  } catch (error) {
    throw nameSource(error, found);
  }
  if (held !== undefined) yield held;
}
