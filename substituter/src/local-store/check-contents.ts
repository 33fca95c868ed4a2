import { computeContentHash } from '@larder/signing/content-hash';
import { LarderError } from '@larder/signing/errors';
import type { PathInfo } from '@larder/signing/path-info';
import { isContentAddressed } from '@larder/signing/path-info';
import type { StoreDir } from '@larder/signing/store-path';

/**
 * Checks that a tree is what its content address says. The NarHash does not prove it: whoever made up the
 * narinfo of a content-addressed path, which needs no signature, chose the NarHash too.
 * @throws `nar-hash-mismatch`
 */
export async function checkContents(info: PathInfo, directory: string, storeDir: StoreDir): Promise<void> {
  if (info.ca === undefined) return;
  const { method, hash } = info.ca;
  const self = info.references.includes(info.storePath);
  const actual =
    method === 'recursive' && hash.algorithm === 'sha256' && !self
      ? info.narHash // verified already, and the same thing
      : await computeContentHash(directory, {
          method,
          algorithm: hash.algorithm,
          self: self ? info.storePath : undefined,
        });
  if (actual.equals(hash) && isContentAddressed(info, storeDir)) return;
  throw new LarderError(
    'nar-hash-mismatch',
    `${info.storePath} claims to be content-addressed by ${hash.toString()}, but its contents have ${actual.toString()}`,
    { fields: { path: info.storePath } },
  );
}
