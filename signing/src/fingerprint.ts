import type { SignedPathInfo } from './path-info.js';
import type { StoreDir } from './store-path.js';

/**
 * The text that a path's signatures are over: `1;<path>;<NarHash>;<NarSize>;<references>`, with full paths, the
 * hash in Nix base-32 and the references sorted and joined by commas. Format: `ValidPathInfo::fingerprint` in Nix.
 */
export function formatFingerprint(info: SignedPathInfo, storeDir: StoreDir): string {
  const references = [...info.references].sort().map((path) => storeDir.format(path));
  return `1;${storeDir.format(info.storePath)};${info.narHash.format('nix32')};${info.narSize};${references.join(',')}`;
}
