import { makeSeekTable, type SeekTable } from '@larder/signing/seek-table';
import { type FetchRange, fetchSeekTable, locateFrames } from '@larder/signing/seekable-zstd';
import { type NarRow, narCompression } from '../database/tables/nars.js';
import { ServerError } from '../errors.js';
import { narKey } from '../storage/object-key.js';
import type { ObjectStorage } from '../storage/storage.js';
import type { NarReader } from './nar-reader.js';

/** Bytes of a stored NAR, unpacked by worker threads: only the frames that hold them are read, where there are frames. */
export async function* readNarRange(
  { storage, reader }: { readonly storage: ObjectStorage; readonly reader: NarReader },
  { cache, nar }: { readonly cache: string; readonly nar: NarRow },
  { offset, length }: { readonly offset: number; readonly length: number },
): AsyncGenerator<Uint8Array> {
  if (length === 0) return;
  const fetchRange = fetcher(storage, narKey(cache, nar));
  const compression = narCompression(nar);
  const table = compression === 'zstd' ? await fetchSeekTable(fetchRange, nar.file_size) : undefined;
  const frames = locateFrames(table ?? singleFrame(nar), offset, length);
  yield* reader.slice(fetchRange(frames.compressedOffset, frames.compressedSize), {
    compression,
    skip: offset - frames.offset,
    length,
    maxSize: frames.size,
  });
}

function fetcher(storage: ObjectStorage, key: string): FetchRange {
  return async function* fetchRange(offset, length) {
    await using object = await storage.get(key, { range: { start: offset, end: offset + length - 1 } });
    if (object === undefined) throw new ServerError('not-found', `there is no ${key}`);
    yield* object.body;
  };
}

/** A NAR for which frames were too dear has one, and so has one that another tool packed. */
function singleFrame(nar: NarRow): SeekTable {
  return makeSeekTable([{ compressedSize: nar.file_size, size: nar.nar_size, checksum: undefined }]);
}
