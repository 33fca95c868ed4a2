import { createHash } from 'node:crypto';
import { Hash } from '@larder/signing/hash';
import { NarParser } from '@larder/signing/nar-parser';
import { NarRestorer } from '@larder/signing/nar-restore';
import type { FoundPath } from '../source-set.js';
import { checkNar } from './check-nar.js';

export interface RestoreOptions {
  /** Where the tree goes; nothing is there. */
  readonly directory: string;
  readonly fsync: boolean;
  readonly onBytes: (count: number) => void;
  readonly signal: AbortSignal;
}

/**
 * Restores a path's NAR with canonical metadata and checks its hash and size against the path's info.
 * @throws `nar-mismatch`, `nar-malformed`; what was restored until then is the caller's to remove
 */
export async function restorePath(found: FoundPath, options: RestoreOptions): Promise<void> {
  const { info, source } = found;
  const restorer = new NarRestorer(options.directory, { canonical: true, fsync: options.fsync });
  const parser = new NarParser(restorer);
  const hash = createHash('sha256');
  let size = 0;
  try {
    for await (const chunk of source.openNar(info, { signal: options.signal })) {
      size += chunk.length;
      // A cache that goes on for ever must not fill the disk.
      if (size > info.narSize) break;
      hash.update(chunk);
      parser.write(chunk);
      options.onBytes(chunk.length);
    }
    if (size === info.narSize) parser.end();
  } finally {
    restorer.close();
  }
  checkNar(found, { narHash: new Hash('sha256', hash.digest()), narSize: size });
}
