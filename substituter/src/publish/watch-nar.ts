import { createHash } from 'node:crypto';
import { Hash } from '@larder/signing/hash';
import type { NarVisitor } from '@larder/signing/nar-parser';
import { NarParser } from '@larder/signing/nar-parser';
import { checkNar } from '../copy/check-nar.js';
import type { FoundPath } from '../source-set.js';

export interface WatchOptions {
  /** Sees the archive's entries on the way. */
  readonly visitor?: NarVisitor;
  readonly onBytes: (count: number) => void;
  readonly signal: AbortSignal;
}

/**
 * A path's NAR from its source, checked against the path's info while it passes: a file that changed in the
 * store must not be published under the hash it had.
 * @throws `nar-mismatch` in place of the stream's end
 */
export async function* watchNar(
  found: FoundPath,
  { visitor, onBytes, signal }: WatchOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  const hash = createHash('sha256');
  const parser = visitor === undefined ? undefined : new NarParser(visitor);
  let narSize = 0;
  for await (const chunk of found.source.openNar(found.info, { signal })) {
    hash.update(chunk);
    parser?.write(chunk);
    narSize += chunk.length;
    onBytes(chunk.length);
    yield chunk;
  }
  parser?.end();
  checkNar(found, { narHash: new Hash('sha256', hash.digest()), narSize });
}
